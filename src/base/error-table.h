/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The catalogue: LPM_E(number, symbol, severity, HTTP status, title, remedy, aliases).
 * Numbers are stable and never reused. 1xxx requests and names, 2xxx peers and trust, 3xxx
 * partition and hypervisor, 4xxx mover and link, 5xxx hand-over, 6xxx prerequisites of a migration,
 * 9xxx the host itself. No include guard: the file is included once per use of LPM_E.
 */
LPM_E(1001, BAD_REQUEST, ERROR, 400, "The request is not understood",
      "Correct the value that the cause names; 'lpm help' and docs/api.yaml show the form", "")
LPM_E(1002, NOT_PERMITTED, ERROR, 403, "You may not do this",
      "Become root or a member of the group 'lpm' on this host", "")
LPM_E(
    1003, PARTITION_NOT_FOUND, ERROR, 404, "There is no such partition on this managed system",
    "List the partitions with 'lpm list'; a migration starts on the host that holds the partition",
    "HSCL8012,HSCL8011")
LPM_E(1004, MIGRATION_NOT_FOUND, ERROR, 404, "There is no such migration",
      "List the migrations with 'lpm status'", "")
LPM_E(1005, ALREADY_MIGRATING, ERROR, 409, "The partition already migrates",
      "Watch it with 'lpm status PARTITION --watch' or stop it with 'lpm stop PARTITION'", "")
LPM_E(1006, NOT_MIGRATING, ERROR, 409, "The partition does not migrate",
      "See 'lpm status' for the migrations under way", "")
LPM_E(1007, NOT_FOUND, ERROR, 404, "There is nothing at this address of the interface",
      "See docs/api.yaml for the paths", "")
LPM_E(1008, TOO_MANY, ERROR, 409, "This host already carries as many migrations as it may",
      "Wait for one to end, or raise the limit that the cause names in lpmd.conf", "")
LPM_E(1009, USAGE, ERROR, 400, "The command line is not understood", "See 'lpm help COMMAND'", "")
LPM_E(1010, DAEMON_UNREACHABLE, ERROR, 503, "The manager of this host does not answer",
      "Start it with 'systemctl start lpmd', or name another socket with --socket", "")
LPM_E(1011, METHOD_NOT_ALLOWED, ERROR, 405, "This address does not take that method",
      "See docs/api.yaml for the methods of each path", "")
LPM_E(1012, TOO_LARGE, ERROR, 413, "The request is too large",
      "Send at most 1 MiB of JSON; see docs/api.yaml for the form", "")
LPM_E(1013, NOT_QUEUED, ERROR, 409, "The migration does not wait in the queue",
      "See 'lpm queue' for those that wait and 'lpm status' for those under way", "")
LPM_E(2001, PEER_UNKNOWN, ERROR, 404, "This host is not paired with a host of that name",
      "List the peers with 'lpm host list'; pair with 'lpm host invite' there and 'lpm host pair' "
      "here",
      "HSCL3653")
LPM_E(2002, PEER_UNREACHABLE, ERROR, 503, "The other host cannot be reached",
      "Check that it is up, that lpmd runs there and that TCP ports 16520 and 16521 are open",
      "HSCLA246")
LPM_E(2003, PEER_REFUSED, ERROR, 502,
      "The other host refused this host's key, or showed a wrong one",
      "Pair the hosts again: 'lpm host unpair' on both, then invite and pair", "HSCL3653")
LPM_E(2004, PAIRING_FAILED, ERROR, 403, "Pairing failed: the code is wrong, spent or expired",
      "Get a new code with 'lpm host invite' on the other host; it is valid 10 minutes, once", "")
LPM_E(2005, PEER_EXISTS, ERROR, 409, "A peer of that name is already paired",
      "Use it, or remove it with 'lpm host unpair NAME' first", "")
LPM_E(2006, PEER_ANSWER, ERROR, 502, "The other host's answer is not understood",
      "Bring both hosts to the same version of OpenLPM ('lpm version')", "HSCLA318")
LPM_E(2007, PEER_IS_SELF, ERROR, 409, "A host cannot be paired with itself",
      "Name the other host's address", "")
LPM_E(2008, PEER_BUSY, ERROR, 409, "The peer takes part in a migration that has not ended",
      "Wait for the migration to end, or stop it, and unpair then", "")
LPM_E(3001, LIBVIRT, ERROR, 502, "libvirt refused or failed",
      "Read the cause; 'virsh' on the host named shows the same, and the log of libvirtd more", "")
LPM_E(3002, PARTITION_NOT_RUNNING, ERROR, 409, "The partition is not running",
      "Start it with 'virsh start', or wait until it runs again", "")
LPM_E(3003, NAME_IN_USE, ERROR, 409, "The target already has a partition of that name or UUID",
      "Remove or rename the one on the target; it would be replaced otherwise", "")
LPM_E(3004, LIBVIRT_UNREACHABLE, ERROR, 503, "libvirt on this host does not answer",
      "Start libvirtd, or correct libvirt_uri in lpmd.conf", "")
LPM_E(3005, PARTITION_BUSY, ERROR, 409, "Another job runs on the partition",
      "Wait for it to end or abort it ('virsh domjobinfo', 'virsh domjobabort')", "")
LPM_E(3006, QEMU_NOT_IDENTIFIED, ERROR, 500, "The partition's QEMU process cannot be identified",
      "Check that lpmd sees /run/libvirt/qemu/NAME.pid and /proc of the host", "")
LPM_E(3007, PARTITION_STARTED, ERROR, 409,
      "The partition was started, or changed, while it was being moved powered off",
      "It is where it was; migrate it again: running, or when nobody uses it", "")
LPM_E(3008, SAVED_STATE, ERROR, 409, "The partition has a saved state of its memory",
      "Start it, or give the saved state up ('virsh managedsave-remove'), then migrate again", "")
LPM_E(3009, DEFINITION_FILES, ERROR, 409,
      "Firmware variables or TPM state of the partition cannot be moved",
      "Read the cause; nvram_dir and tpm_dir in lpmd.conf say where both hosts keep them", "")
LPM_E(3010, DEFINITION_REFUSED, ERROR, 409, "The target's libvirt refused the definition",
      "The partition is where it was; make the definition one that libvirt there takes", "")
LPM_E(4001, MOVER_FAILED, ERROR, 500, "The mover ended or failed",
      "Read the cause and the log of both hosts, then migrate again", "HSCLA297")
LPM_E(4002, MOVER_START, ERROR, 500, "The mover cannot be started",
      "Check path and user of [mover] in lpmd.conf", "HSCLA297")
LPM_E(4003, LINK_LOST, ERROR, 504, "The link between the movers was lost",
      "Check the network between the hosts, then migrate again", "HSCLA246")
LPM_E(4004, DATA_DAMAGED, ERROR, 502, "Data arrived damaged",
      "Migrate again; if it recurs check memory and network hardware of both hosts", "")
LPM_E(4005, PROTOCOL, ERROR, 502, "The other mover broke the protocol",
      "Bring both hosts to the same version of OpenLPM", "")
LPM_E(4006, SESSION_UNKNOWN, ERROR, 404, "There is no such mover session",
      "List them with 'lpm mover stats'", "")
LPM_E(4007, STREAM, ERROR, 502, "The stream of the hypervisor is not understood",
      "Report it with the versions of QEMU on both hosts", "")
LPM_E(4008, NOT_OF_THIS_SIDE, ERROR, 409, "The mover of this side has no such setting",
      "Set the bandwidth on the migration's source", "")
LPM_E(4010, RETAINED, ERROR, 500, "A retained image cannot be used",
      "Drop it with 'lpm retain drop', then migrate again; if it recurs check the disk", "")
LPM_E(4011, NOT_RETAINED, ERROR, 404, "There is no retained image of this partition",
      "List them with 'lpm retain list'", "")
LPM_E(4012, PLACEMENT, ERROR, 500, "The partition's memory on the target cannot be written",
      "Give the target room for the partition's memory, or set direct_placement=off there", "")
LPM_E(5001, STOPPED, ERROR, 409, "The migration was stopped by an operator",
      "The partition is on its source; migrate again when you like", "")
LPM_E(5002, PAST_DECISION, ERROR, 409, "The hand-over is decided and can no longer be stopped",
      "Let it finish; move the partition back afterwards if you want", "")
LPM_E(
    5003, IN_DOUBT, ERROR, 503,
    "Whether the hand-over took place is not known, since the other host does not answer",
    "Bring the other host or the network back; nothing is lost and the partition runs once at most",
    "")
LPM_E(5004, NOT_PREPARED, ERROR, 409, "The target is not ready to run the partition",
      "The partition runs on its source; read the log of the target and migrate again", "")
LPM_E(5005, SOURCE_ALIVE, ERROR, 500, "The source's QEMU could not be ended",
      "End the process named in the cause; the target starts only after that", "")
LPM_E(5006, PARTITION_ENDED, ERROR, 500, "The partition's QEMU ended during the migration",
      "Its disks are as the guest left them: start the partition on the host that the cause names",
      "")
LPM_E(6001, DISK_DIFFERS, ERROR, 409, "The target sees another disk behind the same name",
      "Give the target the same LUN, volume or export: correct zoning, LUN numbers, or the path "
      "there",
      "HSCLA319,HSCLA356,HSCLA29A")
LPM_E(6002, DISK_MISSING, ERROR, 409, "The target does not see a disk of the partition",
      "Make the disk reachable from the target: zoning, masking, login, mount",
      "HSCLA319,HSCLA356,HSCLA29A")
LPM_E(6003, DISK_LOCAL, ERROR, 409, "A disk of the partition exists on one host only",
      "Move the disk to shared storage first, for example with 'virsh blockcopy'",
      "HSCLA356,HSCLA29A")
LPM_E(6004, DISK_UNPROVED, WARNING, 409, "It could not be proved that both hosts see the same disk",
      "Compare the disk on both hosts yourself; see docs/validation.md for what can be proved", "")
LPM_E(6005, DISK_RESERVED, ERROR, 409, "A disk is reserved exclusively for one host",
      "Release the reservation, or use one of all registrants", "HSCLA356,HSCLA29A")
LPM_E(6006, DISK_CACHE, ERROR, 409, "A disk's cache mode leaves data in the source's memory",
      "Set cache='none' or 'directsync' in the disk's driver and start the partition again", "")
LPM_E(6007, FILE_MISSING, ERROR, 409,
      "A file that the partition's machine needs is not on the target",
      "Copy the file to the same path on the target, or detach the medium", "")
LPM_E(6008, FILE_DIFFERS, ERROR, 409, "A medium or firmware image is another one on the target",
      "Copy the source's file to the target", "")
LPM_E(6009, BOOT_FILE_DIFFERS, WARNING, 409,
      "The partition would start from another kernel on the target",
      "Copy the source's kernel and initrd to the target before the partition's next start", "")
LPM_E(6010, BRIDGE_MISSING, ERROR, 409, "The target has no such bridge or network",
      "Make the bridge or network on the target, on the same Ethernet",
      "HSCLA319,HSCLA356,HSCLA29A")
LPM_E(6011, NETWORK_DIFFERS, ERROR, 409, "The bridges of that name are not on the same Ethernet",
      "Connect the target's bridge to the network of the source's; check VLANs and uplinks", "")
LPM_E(6012, MTU_HOLE, ERROR, 409, "Large frames are lost between the hosts' bridges",
      "Set the same MTU on bridges, uplinks and switches of both hosts", "")
LPM_E(6013, NETWORK_LOCAL, ERROR, 409, "A network adapter is on a network of one host only",
      "Put the adapter on a bridge that both hosts have", "")
LPM_E(6014, NETWORK_UNPROVED, WARNING, 409,
      "It could not be proved that both hosts reach the same network",
      "Read the cause; check the network from the target yourself", "")
LPM_E(6015, MAC_IN_USE, ERROR, 409, "A MAC address of the partition is another's on the target",
      "Give one of the two partitions another address", "")
LPM_E(6020, CPU_INCOMPATIBLE, ERROR, 409, "The target's processor lacks what the partition's has",
      "Choose another target, or a processor model that both hosts have, and start the partition "
      "again",
      "HSCLA224")
LPM_E(6021, CPU_DIFFERS, WARNING, 409, "The processors of the hosts are not alike",
      "Read the cause; a partition with the host's own processor may find it changed", "HSCLA224")
LPM_E(6022, MACHINE_UNKNOWN, ERROR, 409, "The target's hypervisor cannot be this kind of machine",
      "Install the hypervisor and its version there, or give the partition a machine type that "
      "both know",
      "HSCLA318,HSCLA335")
LPM_E(6023, WAY_BACK, WARNING, 409, "The partition could not come back from the target",
      "Give it a processor model that both hosts have before its next start, or keep it on hosts "
      "that are alike",
      "HSCLA224")
LPM_E(6030, MEMORY_SHORT, ERROR, 409, "The target has too little memory",
      "Free memory on the target, or make the partition smaller before the move", "HSCLA304")
LPM_E(6031, HUGEPAGES_SHORT, ERROR, 409,
      "The target has too few huge pages of the partition's size",
      "Reserve huge pages of that size on the target", "HSCLA304")
LPM_E(6032, PROCESSORS_SHORT, ERROR, 409, "The target cannot give the partition its processors",
      "Take processors from the partition before the move, or choose another target", "")
LPM_E(6033, PROCESSORS_CROWDED, WARNING, 409, "The partition has more processors than the target",
      "Expect it to run slower there, or choose another target", "")
LPM_E(
    6034, PINNED_AWAY, ERROR, 409,
    "The partition is bound to processors or memory nodes that the target does not have",
    "Bind it to ones that both hosts have ('virsh vcpupin', 'emulatorpin', 'numatune'), or choose "
    "another target",
    "")
LPM_E(6035, NODE_SHORT, ERROR, 409,
      "The memory nodes that the partition is bound to are too small on the target",
      "Free memory or reserve huge pages in those nodes, or bind the partition to others",
      "HSCLA304")
LPM_E(6036, PINNED_PARTLY, WARNING, 409,
      "The target has only some of the processors that the partition is pinned to",
      "Expect it to share fewer, or that its hypervisor does not start there; pin it to ones that "
      "both hosts have",
      "")
LPM_E(6040, DEVICE_BOUND, ERROR, 409, "A device of the partition is bound to this host",
      "Detach the device, or make it the fast path of a team with a virtual adapter",
      "HSCLA318,HSCLA335")
LPM_E(6041, LISTEN_ADDRESS, ERROR, 409,
      "A display or console listens on an address that the target does not have",
      "Let it listen on 0.0.0.0, :: or a loopback address", "")
LPM_E(6042, CONSOLE_LOCAL, ERROR, 409,
      "A console needs a file or socket that the target does not have",
      "Make the folder on the target, or detach the console", "")
LPM_E(6050, HYPERVISOR_OLDER, WARNING, 409, "The target's hypervisor is older than the source's",
      "Bring the target to the source's version; the way back works", "")
LPM_E(6060, CLOCKS_DIFFER, WARNING, 409, "The clocks of the hosts do not agree",
      "Let both hosts keep time by the same NTP servers", "")
LPM_E(6070, ON_BATTERY, ERROR, 409, "The target runs on battery", "Connect it to power", "")
LPM_E(
    6080, SNAPSHOTS, ERROR, 409,
    "The partition has snapshots or checkpoints, which libvirt does not move",
    "Delete them ('virsh snapshot-delete', 'virsh checkpoint-delete'); '--metadata' keeps the data",
    "")
LPM_E(6090, MOVER_UNREACHABLE, ERROR, 409,
      "No session between the movers of the hosts could be opened",
      "Check the data port (TCP 16521) of the target and [mover] in both lpmd.conf",
      "HSCLA246,HSCLA297")
LPM_E(6100, AGENT_SILENT, WARNING, 409, "The guest agent does not answer",
      "Start qemu-guest-agent in the guest, or remove its channel", "")
LPM_E(6110, PATHS_LOST, ERROR, 409,
      "A disk has fewer usable paths on the target than on the source",
      "Repair the paths on the target, or accept the loss of redundancy with --force", "HSCLA340")
LPM_E(6111, MAP_WRONG, ERROR, 409,
      "A name was mapped that the partition does not have, or to one that "
      "cannot be",
      "'lpm show' lists disks and MAC addresses; see --map in lpm(1)", "")
LPM_E(6112, MAP_AMBIGUOUS, ERROR, 409,
      "The roles of a network or storage name different ones on the target",
      "Say which is meant with --map, or correct [networks] and [storage] in lpmd.conf", "")
LPM_E(6113, MAC_ELSEWHERE, ERROR, 409,
      "Somebody else on the network uses a MAC address of the partition",
      "Find who is behind the port that the cause names; give one of the two another address", "")
LPM_E(6114, NVRAM_PLACE, ERROR, 409,
      "The partition's firmware variables have no place on the target",
      "Install the same firmware there, or move away what has the file's name", "")
LPM_E(6115, TPM_MISSING, ERROR, 409, "The target cannot emulate a TPM",
      "Install swtpm there and restart libvirtd", "")
LPM_E(6116, DEVICE_CUT, WARNING, 409,
      "A device that a client lends to the partition is cut off by the move",
      "Expect to connect it anew, or detach it before", "")
LPM_E(
    6117, FAST_PATH, WARNING, 409, "The fast path of a team may be missing on the target",
    "Give the target a device at that address, or one of a libvirt network of devices; the standby "
    "carries the traffic until then",
    "")
LPM_E(6120, SUSPENSION_TOO_LONG, ERROR, 409,
      "The partition would be suspended for longer than was asked for",
      "Allow more with --max-suspend, or --post-copy auto, where only the switch suspends; 'lpm "
      "forecast PARTITION --to HOST' tells what to expect",
      "")
LPM_E(
    6130, LOCKS_LOST, ERROR, 409, "The target does not lock disks as the source does",
    "Give both hosts the same lock_manager in qemu.conf, and it the same settings and lock files; "
    "--force moves the partition to a host with another lock manager or none",
    "")
LPM_E(9001, INTERNAL, ERROR, 500, "Something failed that should not",
      "Collect the log ('lpm log') and report it", "HSCLA2FF")
LPM_E(9002, JOURNAL, ERROR, 500, "The journal of this host cannot be read or written",
      "Free space on, or repair, the file system of the state folder, then restart lpmd", "")
LPM_E(9003, CONFIG, ERROR, 500, "The configuration is not understood",
      "Correct the line that the cause names; see lpmd.conf(5)", "")
LPM_E(9004, IDENTITY, ERROR, 500, "This host's key or certificate cannot be used",
      "Restore host.key and host.crt, or remove both and pair all hosts again", "")
