// SPDX-License-Identifier: Apache-2.0
// What the rules of one network namespace are known by, without a program that lists them: cheap enough for twice a
// second and pod.
//
// Lives on: the control thread; stays in the namespace it was opened in. Owns: a socket per kind of rules.
#pragma once
#include <string>
#include <vector>

#include <libmnl/libmnl.h>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::capture {

class RulesMark {
public:
    // In the calling thread's namespace. `kind` as Tables has it: for one that nobody knows, both are asked.
    static base::Result<RulesMark> open(const std::string& kind, std::vector<std::string> tables);

    // Of nftables the number of its last change, whoever's; of legacy tables how many rules each has, and where its
    // chains begin. Equal to an earlier answer: nothing has changed, as far as that tells.
    std::string now();

private:
    using Netlink = base::Handle<mnl_socket, mnl_socket_close>;

    std::vector<std::string> tables_;
    Netlink nft_;
    base::Fd legacy4_, legacy6_;
};

}
