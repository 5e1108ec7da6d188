#!/bin/sh
# Inside the VM, as root: runs tests and ends with pytest's exit status.
#   guest.sh CHECKOUT BOOT RESULTS SECONDS
# virtme-ng's root is the host's over 9p, and asks the host about every file anew; importing pytest takes 30 s there.
# The same root is therefore mounted once more with a cache, and takes its place, for every process that is there, the
# kernel's own among them: to the tests it is the machine's root. It can't be written to; /tmp can.
set -eu
checkout=$1 boot=$2 results=$3 seconds=$4
eval "set -- $(cat "$results/arguments")" # pytest's

# What a machine would load by itself when it is asked for; these depend on nothing.
for module in sch_ingress cls_bpf cls_u32; do
    insmod "$boot/../lib/modules/$(uname -r)/kernel/net/sched/$module".ko* || :
done

mount --make-rprivate /
root=/run/root
mkdir -p "$root"
mount -t 9p -o ro,trans=virtio,version=9p2000.L,access=any,cache=loose,msize=512000 cached_root "$root"
mkdir /run/checkout /run/boot
mount --bind "$root$checkout" /run/checkout # they may be below what is covered next
mount --bind "$root$boot" /run/boot
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
for folder in tmp var/tmp run; do mount -t tmpfs tmpfs "$root/$folder"; done
mkdir -p "$root$checkout" "$root/run/results"
mount --bind /run/checkout "$root$checkout"
mount --bind /run/boot "$root/boot" # there is the kernel's configuration
mount --bind "$results" "$root/run/results"
cd "$root"
pivot_root . mnt
umount -l /mnt
cd "$checkout"

mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
# Debian's own default, 3, leaves perf rings to CAP_SYS_ADMIN; everywhere else CAP_PERFMON suffices.
echo 2 >/proc/sys/kernel/perf_event_paranoid
ip link set lo up 2>/dev/null || :

exec >/run/results/output.txt 2>&1
echo "vmtest: Linux $(uname -r), $(nproc) CPUs"
export CI=true HOME=/tmp/home XDG_CACHE_HOME=/tmp/home/cache PYTHONDONTWRITEBYTECODE=1 SNOOPKIT_REQUIRE_KERNEL=1
export HYPOTHESIS_STORAGE_DIRECTORY=$HOME/hypothesis
mkdir -p "$XDG_CACHE_HOME"
cp -r /run/results/programs /tmp/programs
export SNOOPKIT_TEST_PROGRAMS=/tmp/programs
exec timeout --signal=INT --kill-after=10 "$seconds" .venv/bin/python -u -m pytest -q --timeout=900 -p no:cacheprovider -m "kernel and not heavy" "$@"
