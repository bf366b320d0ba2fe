// SPDX-License-Identifier: Apache-2.0
// Containers and VMs inside a pod: network namespaces of their own behind a bridge of the pod's, masqueraded.
//
//   pod: eth0, and br-vm 10.200.0.1 fd20::1 with inner 10.200.0.2 fd20::2 and second 10.200.0.3 fd20::3
#pragma once
#include <string>

#include "lab.hpp"

namespace culvert::test {

// A network namespace with a name, made and removed with this.
class Netns {
public:
    explicit Netns(const std::string& name);
    Netns(const Netns&) = delete;
    ~Netns();
    int get() const { return netns_.get(); }
    std::string path() const { return "/run/netns/" + name_; }

private:
    std::string name_;
    base::Fd netns_;
};

class Nested {
public:
    explicit Nested(const Pod& pod);
    Nested(const Nested&) = delete;
    ~Nested();
    static IpAddress ip(Family family, int number);

    Netns inner{"a"};
    Netns second{"b"};

private:
    void plug(const Netns& netns, const std::string& cable, const std::string& number) const;
    int pod_;
};

}
