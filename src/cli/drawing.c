/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * SVG by hand: rectangles, lines and text, without a library and without scripts. Three panels
 * share the axis of time, from the first phase to the last sample or the end of the last phase.
 * Names come from peers and guests: they are cleaned and escaped.
 */
#include "cli/drawing.h"

#include "cli/text.h"

#include <string.h>

#define WIDTH 900.0
#define LEFT 90.0
#define RIGHT 20.0
#define PLOT_WIDTH (WIDTH - LEFT - RIGHT)
#define TICKS 8

struct canvas {
    GString *out;
    const json_t *samples;
    gint64 begin_us, end_us;
};

/* A line in a panel: the member itself, or its growth per second. */
struct series {
    const char *member, *label, *colour;
    gboolean growth, area, steps;
};

struct panel {
    const char *title;
    double top, height;
    gboolean bytes;
    const struct series *series; /* ends in one without a member */
};

static const struct series left_series[] = {
    {.member = "memory_left", .label = "left", .colour = "#2a6f97", .area = TRUE},
    {.member = NULL},
};
static const struct series rate_series[] = {
    {.member = "stream_bytes", .label = "QEMU's stream", .colour = "#8a8f98", .growth = TRUE},
    {.member = "wire_bytes", .label = "on the link", .colour = "#2a6f97", .growth = TRUE},
    {.member = "dirty_rate", .label = "dirtied", .colour = "#c1440e", .steps = TRUE},
    {.member = NULL},
};
static const struct series choice_series[] = {
    {.member = "level", .label = "level", .colour = "#6a4c93", .steps = TRUE},
    {.member = "threads", .label = "threads", .colour = "#2a6f97", .steps = TRUE},
    {.member = "streams", .label = "streams", .colour = "#3a7d44", .steps = TRUE},
    {.member = NULL},
};
static const struct panel panels[] = {
    {"left to send", 90, 150, TRUE, left_series},
    {"per second", 280, 150, TRUE, rate_series},
    {"the mover's choice", 470, 90, FALSE, choice_series},
};
#define HEIGHT 600

/* Printing numbers with a point in every locale. */
static void add(GString *out, const char *format, double a, double b)
{
    char first[G_ASCII_DTOSTR_BUF_SIZE], second[G_ASCII_DTOSTR_BUF_SIZE];

    g_string_append_printf(out, format, g_ascii_formatd(first, sizeof(first), "%.1f", a),
                           g_ascii_formatd(second, sizeof(second), "%.1f", b));
}

static void add_text(GString *out, double x, double y, const char *attributes, const char *text)
{
    g_autofree char *escaped = g_markup_escape_text(text, -1);

    add(out, "<text x=\"%s\" y=\"%s\"", x, y);
    g_string_append_printf(out, "%s>%s</text>\n", attributes, escaped);
}

static double x_of(const struct canvas *canvas, gint64 us)
{
    double share =
        (double)(us - canvas->begin_us) / (double)MAX(canvas->end_us - canvas->begin_us, 1);

    return LEFT + CLAMP(share, 0.0, 1.0) * PLOT_WIDTH;
}

/* The value at a sample; FALSE where it is not known. */
static gboolean value_at(const struct canvas *canvas, const struct series *series, size_t index,
                         double *value)
{
    const json_t *sample = json_array_get(canvas->samples, index);
    const json_t *now = json_object_get(sample, series->member);

    if (!json_is_integer(now))
        return FALSE;
    *value = (double)json_integer_value(now);
    if (!series->growth)
        return TRUE;
    const json_t *before = index > 0 ? json_array_get(canvas->samples, index - 1) : NULL;
    gint64 elapsed = field_int(sample, "at_us") - field_int(before, "at_us");
    if (!before || elapsed <= 0 || !json_is_integer(json_object_get(before, series->member)))
        return FALSE;
    /* A mover that took the place of a lost one counts from zero again. */
    *value = MAX(*value - field_real(before, series->member), 0) * G_USEC_PER_SEC / (double)elapsed;
    return TRUE;
}

static void range_of(const struct canvas *canvas, const struct panel *panel, double *low,
                     double *high)
{
    double value;

    *low = 0;
    *high = 1;
    for (const struct series *series = panel->series; series->member; series++) {
        for (size_t i = 0; i < json_array_size(canvas->samples); i++) {
            if (!value_at(canvas, series, i, &value))
                continue;
            *low = MIN(*low, value);
            *high = MAX(*high, value);
        }
    }
}

static void draw_series(const struct canvas *canvas, const struct panel *panel,
                        const struct series *series, double low, double high)
{
    g_autoptr(GString) path = g_string_new(NULL);
    double value, x = 0, y = 0, first = 0, base = panel->top + panel->height;

    for (size_t i = 0; i < json_array_size(canvas->samples); i++) {
        if (!value_at(canvas, series, i, &value))
            continue;
        const json_t *sample = json_array_get(canvas->samples, i);
        double last = y;
        x = x_of(canvas, field_int(sample, "at_us"));
        y = base - (value - low) / (high - low) * panel->height;
        if (path->len == 0)
            first = x;
        else if (series->steps)
            add(path, "L%s %s ", x, last);
        add(path, path->len == 0 ? "M%s %s " : "L%s %s ", x, y);
    }
    if (path->len == 0)
        return;
    g_string_append_printf(canvas->out,
                           "<path d=\"%s\" fill=\"none\" stroke=\"%s\" "
                           "stroke-width=\"1.5\"/>\n",
                           path->str, series->colour);
    if (series->area) {
        add(path, "L%s %s ", x, base);
        add(path, "L%s %s Z", first, base);
        g_string_append_printf(canvas->out, "<path d=\"%s\" fill=\"%s\" fill-opacity=\"0.15\"/>\n",
                               path->str, series->colour);
    }
}

/* A thin line where a round begins, as long as they can be told apart. */
static void draw_rounds(const struct canvas *canvas, const struct panel *panel)
{
    gint64 round = -1;
    double drawn = 0;
    size_t index;
    json_t *sample;

    json_array_foreach (canvas->samples, index, sample) {
        double x = x_of(canvas, field_int(sample, "at_us"));
        if (field_int(sample, "round") == round || x - drawn < 6)
            continue;
        round = field_int(sample, "round");
        drawn = x;
        add(canvas->out, "<path d=\"M%s %s", x, panel->top);
        add(canvas->out, "V%s\" stroke=\"#ddd\"/>\n", panel->top + panel->height, 0);
    }
}

static void draw_frame(const struct canvas *canvas, const struct panel *panel, double low,
                       double high)
{
    g_autofree char *most = panel->bytes ? text_bytes((gint64)high) : g_strdup_printf("%.0f", high);
    g_autofree char *least = panel->bytes ? g_strdup("0") : g_strdup_printf("%.0f", low);
    double x = LEFT + 150;

    add(canvas->out, "<rect x=\"%s\" y=\"%s\"", LEFT, panel->top);
    add(canvas->out, " width=\"%s\" height=\"%s\" fill=\"none\" stroke=\"#999\"/>\n", PLOT_WIDTH,
        panel->height);
    add_text(canvas->out, LEFT - 6, panel->top + 10, " text-anchor=\"end\"", most);
    add_text(canvas->out, LEFT - 6, panel->top + panel->height, " text-anchor=\"end\"", least);
    add_text(canvas->out, LEFT, panel->top - 6, " font-weight=\"bold\"", panel->title);
    for (const struct series *series = panel->series; series->member; series++, x += 130) {
        g_autofree char *fill = g_strdup_printf(" fill=\"%s\"", series->colour);
        add_text(canvas->out, x, panel->top - 6, fill, series->label);
    }
}

static void draw_panel(const struct canvas *canvas, const struct panel *panel)
{
    double low, high;

    range_of(canvas, panel, &low, &high);
    draw_rounds(canvas, panel);
    draw_frame(canvas, panel, low, high);
    for (const struct series *series = panel->series; series->member; series++)
        draw_series(canvas, panel, series, low, high);
}

static void draw_phases(const struct canvas *canvas, const json_t *phases)
{
    static const char *const colours[] = {"#cfd8dc", "#d7ccc8", "#bbdefb", "#ffe0b2",
                                          "#ffccbc", "#c8e6c9", "#d1c4e9"};
    size_t index;
    json_t *phase;

    json_array_foreach (phases, index, phase) {
        gint64 end = field_int(phase, "end_us");
        double x = x_of(canvas, field_int(phase, "begin_us"));
        double width = x_of(canvas, end < 0 ? canvas->end_us : end) - x;
        g_autofree char *name = field_text(phase, "name");

        add(canvas->out, "<rect x=\"%s\" y=\"40\" width=\"%s\" height=\"20\" ", x, MAX(width, 0.5));
        g_string_append_printf(canvas->out, "fill=\"%s\"/>\n",
                               colours[index % G_N_ELEMENTS(colours)]);
        if (width > 7.0 * (double)strlen(name))
            add_text(canvas->out, x + 3, 54, "", name);
    }
}

static void draw_time(const struct canvas *canvas, double y)
{
    double seconds = (double)(canvas->end_us - canvas->begin_us) / G_USEC_PER_SEC;

    for (int i = 0; i <= TICKS; i++) {
        char number[G_ASCII_DTOSTR_BUF_SIZE];
        g_ascii_formatd(number, sizeof(number), seconds < 10 ? "%.2f" : "%.0f",
                        seconds * i / TICKS);
        g_autofree char *text = g_strdup_printf("%s s", number);
        add_text(canvas->out, LEFT + PLOT_WIDTH * i / TICKS, y,
                 i == TICKS ? " text-anchor=\"end\"" : " text-anchor=\"middle\"", text);
    }
}

/* From the first phase to the last thing known. */
static void set_times(struct canvas *canvas, const json_t *phases)
{
    const json_t *last = json_array_get(canvas->samples, json_array_size(canvas->samples) - 1);
    const json_t *phase = json_array_get(phases, json_array_size(phases) - 1);

    canvas->begin_us = json_array_size(phases) > 0
                           ? field_int(json_array_get(phases, 0), "begin_us")
                           : field_int(json_array_get(canvas->samples, 0), "at_us");
    canvas->end_us = MAX(field_int(phase, "end_us"), field_int(phase, "begin_us"));
    canvas->end_us = MAX(canvas->end_us, field_int(last, "at_us"));
}

static void draw_title(const struct canvas *canvas, const json_t *migration)
{
    g_autofree char *partition = field_text(migration, "partition");
    g_autofree char *peer = field_text(migration, "peer");
    g_autofree char *state = field_text(migration, "state");
    g_autofree char *id = field_text(migration, "id");
    gint64 suspended = field_int(migration, "report.suspended_us");
    g_autofree char *still = suspended < 0 ? g_strdup("") : text_duration_us(suspended);
    g_autofree char *title = g_strdup_printf("%s to %s: %s%s%s (%s)", partition, peer, state,
                                             suspended < 0 ? "" : ", suspended ", still, id);

    add_text(canvas->out, LEFT, 24, " font-size=\"16\"", title);
}

char *drawing_of_timeline(const json_t *timeline)
{
    const json_t *migration = json_object_get(timeline, "migration");
    const json_t *phases = json_object_get(migration, "phases");
    struct canvas canvas = {.out = g_string_new(NULL),
                            .samples = json_object_get(timeline, "samples")};

    set_times(&canvas, phases);
    g_string_append_printf(canvas.out,
                           "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                           "font-family=\"sans-serif\" font-size=\"12\">\n"
                           "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
                           (int)WIDTH, HEIGHT);
    draw_title(&canvas, migration);
    draw_phases(&canvas, phases);
    for (gsize i = 0; i < G_N_ELEMENTS(panels); i++)
        draw_panel(&canvas, &panels[i]);
    draw_time(&canvas, HEIGHT - 20);
    g_string_append(canvas.out, "</svg>\n");
    return g_string_free(canvas.out, FALSE);
}
