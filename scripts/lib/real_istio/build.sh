# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Builds the real programs into $bin with Go, from the modules of these versions. Nothing of them is kept in the checkout but
# under build/. All in one Go module, so that what they share is compiled once.

istio=v0.0.0-20260827124520-eed52ebb66ad
kubernetes=1.36.1
programs=(istio.io/istio/pilot/cmd/pilot-discovery istio.io/istio/cni/cmd/install-cni istio.io/istio/istioctl/cmd/istioctl)

build_programs() {
    local module=$bin/module program version
    are_built && return
    version=$(go env GOVERSION 2>/dev/null) || die "there is no go; Go 1.26 or newer builds Istio's programs"
    say "building Istio's programs with $version"
    export GOPATH=$bin/go GOCACHE=$bin/cache GOFLAGS='-mod=mod -modcacherw'
    mkdir -p "$module"
    (
        cd "$module"
        write_module
        for program in "${programs[@]}"; do compile "$program"; done
        compile . kube-apiserver
        install -m 644 "$(go list -m -f '{{.Dir}}' istio.io/istio)/manifests/charts/base/files/crd-all.gen.yaml" "$bin"
    )
}

are_built() {
    local name
    for name in "${programs[@]##*/}" kube-apiserver crd-all.gen.yaml; do [[ -e $bin/$name ]] || return 1; done
}

# Not inlined and without debugging information: it halves the time that compiling takes.
compile() {
    local name=${2:-${1##*/}}
    [[ -x $bin/$name ]] || nice go build -gcflags 'all=-l -dwarf=0' -ldflags '-s -w' -tags vtprotobuf -o "$bin/$name" "$1"
}

# Kubernetes' module names the modules of its own tree by their folders, which only that tree has.
write_module() {
    local part
    rm -f go.mod
    cat >main.go <<-END
	package main

	import (
		"os"

		"k8s.io/component-base/cli"
		"k8s.io/kubernetes/cmd/kube-apiserver/app"
	)

	func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
	END
    go mod init culvert.test/programs 2>/dev/null
    go mod edit -require "istio.io/istio@$istio" -require "k8s.io/kubernetes@v$kubernetes"
    for part in $(go mod download -json "k8s.io/kubernetes@v$kubernetes" | jq -r .GoMod | xargs sed -n 's/^\t\(k8s.io.*\) => .*/\1/p'); do
        go mod edit -replace "$part=$part@v0.${kubernetes#*.}"
    done
}
