/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/terminal.h"

#include "base/error.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

gboolean terminal_is(FILE *stream)
{
    return isatty(fileno(stream)) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
}

static gsize from_environment(const char *name, gsize otherwise)
{
    const char *text = g_getenv(name);
    guint64 value = text ? g_ascii_strtoull(text, NULL, 10) : 0;

    return value > 0 && value <= 10000 ? (gsize)value : otherwise;
}

gsize terminal_width(FILE *stream)
{
    struct winsize size;

    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return from_environment("COLUMNS", 80);
}

gsize terminal_height(FILE *stream)
{
    struct winsize size;

    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
        return size.ws_row;
    return from_environment("LINES", 24);
}

const char *terminal_style(FILE *stream, enum terminal_style style)
{
    static const char *const sequences[] = {
        [TERMINAL_PLAIN] = "\033[0m",
        [TERMINAL_BOLD] = "\033[1m",
        [TERMINAL_RED] = "\033[1;31m",
        [TERMINAL_YELLOW] = "\033[1;33m",
    };
    const char *no_color = g_getenv("NO_COLOR");

    if (!terminal_is(stream) || (no_color && *no_color))
        return "";
    return sequences[style];
}

/* The terminal as it was, for the handler below. */
static struct termios before_prompt;

/* A terminal left without echo is a nuisance, so that no signal may end the prompt without this.
 * tcsetattr() and raise() may be called here. */
static void restore_and_end(int signal_number)
{
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_prompt);
    raise(signal_number); /* SA_RESETHAND: the default action, as soon as this returns */
}

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static gboolean hide_input(struct sigaction *saved)
{
    struct sigaction action = {.sa_handler = restore_and_end, .sa_flags = (int)SA_RESETHAND};

    if (tcgetattr(STDIN_FILENO, &before_prompt) < 0)
        return FALSE;
    for (gsize i = 0; i < G_N_ELEMENTS(ending_signals); i++)
        sigaction(ending_signals[i], &action, &saved[i]);
    struct termios quiet = before_prompt;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stop would leave it so, too */
    return tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
}

static void show_input(const struct sigaction *saved)
{
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_prompt);
    for (gsize i = 0; i < G_N_ELEMENTS(ending_signals); i++)
        sigaction(ending_signals[i], &saved[i], NULL);
}

char *terminal_secret(FILE *err, const char *prompt, GError **error)
{
    char line[4096];
    struct sigaction saved[G_N_ELEMENTS(ending_signals)];
    gboolean hidden = isatty(STDIN_FILENO) && hide_input(saved);

    if (isatty(STDIN_FILENO)) {
        fprintf(err, "%s: ", prompt);
        fflush(err);
    }
    char *got = fgets(line, sizeof(line), stdin);
    if (hidden) {
        show_input(saved);
        fputc('\n', err);
    }
    if (!got || (strlen(line) == sizeof(line) - 1 && line[sizeof(line) - 2] != '\n')) {
        lpm_fail(error, LPM_E_USAGE, "%s: %s on the standard input", prompt,
                 got ? "too long a line" : "nothing");
        explicit_bzero(line, sizeof(line));
        return NULL;
    }
    g_strchomp(line);
    char *secret = g_strdup(line);
    explicit_bzero(line, sizeof(line));
    return secret;
}
