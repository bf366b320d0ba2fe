// SPDX-License-Identifier: Apache-2.0
// What this kernel can do, and the two file systems that capture stands on.
#pragma once
#include <cstdint>
#include <string>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::capture {

// Fails with one sentence that says what is missing. Features are asked for, not versions.
base::Result<> check_kernel();
bool kernel_has_tcx();

// Where bpffs is mounted; when nowhere it is mounted at /sys/fs/bpf, except in a container, whose mounts end with it.
base::Result<std::string> bpffs();
// The same, but never mounts: empty when there is none.
std::string mounted_bpffs();

// The root of the whole cgroup2 hierarchy. A mount made inside a cgroup namespace shows that namespace's own cgroup
// at its root: programs attached there would capture nothing, hence the check of the inode.
base::Result<base::Fd> cgroup_root();

// Of the network namespace that this thread is in.
base::Result<std::uint64_t> netns_cookie();

// The netns that the kubelet's calls come from: this thread's where no path is given.
base::Result<base::Fd> open_node_netns(const std::string& path);

// Its cookie. Of "initial", the kernel's first, which a container has no path to: 0, and the programs ask for it
// themselves.
base::Result<std::uint64_t> node_netns_cookie(const std::string& path);

// libbpf's own messages go through our logger; a refused program prints the verifier's last lines.
void adopt_libbpf_log();

}
