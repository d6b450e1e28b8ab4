#!/usr/bin/env bash
# Run a command as the pod's container would be run: uid 10001, no capabilities, no new privileges, every file system
# read-only except /tmp and /dev/shm, which are memory of the sizes of the volumes. Needs root, for mounting; no engine.
#
#   tests/deploy/hardened.sh IMAGE MODELS COMMAND...   IMAGE is seen as /srv/opt, MODELS as /srv/models
set -euo pipefail

if [[ "${1:-}" != --inside ]]; then
    exec unshare --mount --ipc --propagation private "$0" --inside "$@"
fi
shift
image=$1 models=$2
shift 2

mount -t tmpfs -o mode=0755 tmpfs /srv
mkdir /srv/opt /srv/models /srv/python
mount --bind "$image" /srv/opt
mount --bind "$models" /srv/models

# A Python below /root cannot be seen by others: /root becomes an empty folder that holds it alone.
python=$("${PYTHON:-python3}" -c 'import sys; print(sys.base_prefix)')
if [[ "$python" == /root/* ]]; then
    mount --bind "$python" /srv/python
    mount -t tmpfs -o mode=0755 tmpfs /root
    mkdir -p "$python"
    mount --bind /srv/python "$python"
fi

mount -t tmpfs -o mode=1777,size=64m,nosuid,nodev tmpfs /tmp
mount -t tmpfs -o mode=1777,size=1g,nosuid,nodev,noexec tmpfs /dev/shm
cut -d ' ' -f 5 /proc/self/mountinfo | while read -r place; do
    case $place in
        /tmp | /dev/shm | /proc | /proc/* | /sys | /sys/*) ;;
        *) ! mountpoint -q "$place" || mount -o remount,bind,ro "$place" ;; # one under another cannot be reached
    esac
done

cd /srv/opt
export HOME=/nonexistent PYTHONPATH=/srv/opt PYTHONDONTWRITEBYTECODE=1
exec setpriv --reuid 10001 --regid 10001 --clear-groups --inh-caps=-all --ambient-caps=-all --bounding-set=-all \
    --no-new-privs "$@"
