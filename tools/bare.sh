#!/bin/bash
# Runs a command in a clone of this one's last commit, as on a machine that has nothing yet: a root of Debian's smallest set of packages, each
# as new as its mirror has it, with this machine's Node.js and npm, and with no user but Debian's own. Nothing of it is left afterwards.
#   sudo tools/bare.sh './pando up && ./pando down'
#   sudo tools/bare.sh './pando test'
# The network and the kernel are this machine's. Needs mmdebstrap, git, and Node.js with npm.
set -euo pipefail

command=${1:?what is to be run, in quotes}
home=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
[[ $(id -u) == 0 ]] || { echo 'Only root may make a root: sudo tools/bare.sh …' >&2; exit 1; }
root=$(mktemp -d /var/tmp/pando-bare-XXXXXX)
# Mounts are the namespace's own: none lies below the directory here.
trap 'rm -rf --one-file-system "$root"' EXIT

echo "a bare root in $root" >&2
mmdebstrap --quiet --variant=minbase --include=ca-certificates,git,procps bookworm "$root" >&2

# What leads to this machine's mirrors and registry.
take() { [[ ! -e /$1 ]] || (cd / && cp --archive --parents "$1" "$root"); }
rm -f "$root/etc/apt/sources.list"
for file in etc/apt/sources.list etc/apt/sources.list.d/debian.sources etc/npmrc usr/etc/npmrc root/.npmrc etc/ssl/certs/ca-certificates.crt; do
  take "$file"
done
grep --files-with-matches --no-messages 'Acquire' /etc/apt/apt.conf.d/* | while read -r file; do take "${file#/}"; done
cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/"

modules=$(npm root --global)
cp --archive "$modules/npm" "$root/usr/lib/"
install "$(readlink -f "$(command -v node)")" "$root/usr/bin/node"
for name in npm npx; do ln -s "../lib/npm/bin/$name-cli.js" "$root/usr/bin/$name"; done
git clone --quiet "$home" "$root/root/pando"
mkdir "$root/former"

export root command
unshare --mount --propagation private sh -euc '
  mount --rbind "$root" "$root"
  for part in dev sys run; do mount --rbind "/$part" "$root/$part"; done
  mount -t proc proc "$root/proc"
  cd "$root"
  pivot_root . former
  umount --lazy /former
  cd /root/pando
  exec env --ignore-environment HOME=/root TERM="${TERM:-dumb}" NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -c "$command"'
