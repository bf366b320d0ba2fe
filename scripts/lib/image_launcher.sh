# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# build/image/culvertd: the image's daemon as a program of this machine. Expects: image.sh.
#
# No namespace and no chroot: /run/netns, /sys/fs/bpf and every path on the command line are the machine's own. The image's
# dynamic loader starts the image's daemon with the image's libraries; it is called through a link of the program's name,
# which is the name that ps, top and perf show. The image's iptables and ipset come first in the daemon's PATH, started the
# same way. Everything execs: the process stays what its parent started.

write_launcher() {
    local loader libraries tool new=$image/launch.new
    loader=$(compgen -G "$files/usr/lib64/ld-linux*" || compgen -G "$files/usr/lib/ld-linux*") || die "the image has no loader"
    libraries=$(compgen -G "$files/usr/lib/*-linux-gnu")
    rm -rf "$new"
    mkdir -p "$new/as" "$new/bin"
    for tool in "$files"/usr/sbin/*tables-{nft,legacy}{,-save,-restore} "$files/usr/sbin/ipset"; do
        launch "${tool##*/}" "$new/bin" "XTABLES_LIBDIR=$libraries/xtables"
    done
    launch culvertd "$new" "PATH=$image/launch/bin:\$PATH" "OPENSSL_CONF=$files/etc/ssl/openssl.cnf"
    rm -rf "$image/launch"
    mv "$new" "$image/launch"
    mv "$image/launch/culvertd" "$image/culvertd"
}

# launch PROGRAM FOLDER VARIABLE...: the script that starts it.
launch() {
    local program=$1 script=$2/$1 variable
    shift 2
    ln -s "$loader" "$new/as/$program"
    {
        printf '#!/bin/sh\n# Made by scripts/image: starts %s of the image in build/image/root.\n' "$program"
        for variable; do printf 'export %s="%s"\n' "${variable%%=*}" "${variable#*=}"; done
        printf 'exec "%s" --inhibit-cache --library-path "%s" --argv0 "%s" "%s" "$@"\n' \
            "$image/launch/as/$program" "$libraries" "$program" "$files/usr/sbin/$program"
    } >"$script"
    chmod 755 "$script"
}
