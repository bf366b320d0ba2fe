# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Debian roots of another release, made from this machine's own package source. Expects: scripts/lib/say.sh.

debian_keys=/usr/share/keyrings/debian-archive-keyring.gpg

# Where this machine gets Debian's packages from, said for another suite.
debian_sources() {
    local suite=$1 uri codename origin
    # shellcheck disable=SC2016 # apt-get's own variables
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' | sort -u |
        while read -r uri codename origin; do
            [[ $origin == Debian ]] || continue
            case $codename in
            *-*) printf 'deb [signed-by=%s] %s %s-%s main\n' "$debian_keys" "$uri" "$suite" "${codename#*-}" ;;
            *) printf 'deb [signed-by=%s] %s %s main\n' "$debian_keys" "$uri" "$suite" ;;
            esac
        done
}

# make_debian_root SUITE FOLDER [mmdebstrap's OPTION...]: a minimal one unless the options say more.
make_debian_root() {
    local suite=$1 folder=$2 sources
    shift 2
    sources=$(debian_sources "$suite")
    if [[ ! $sources ]]; then
        apt-get -qq update || true
        sources=$(debian_sources "$suite")
    fi
    [[ $sources ]] || die "apt-get knows no package source of Debian here; is there a network, and are /etc/apt's sources right?"
    mmdebstrap --quiet --variant=minbase "$@" "$suite" "$folder" - <<<"$sources"
}
