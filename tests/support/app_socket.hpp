// SPDX-License-Identifier: Apache-2.0
// What apps do to their sockets, and the check that most of it is about: the call is sealed all the same.
#pragma once
#include <string_view>

#include "world.hpp"

namespace culvert::test {

// Each throws when the kernel refuses.
void bind_to_device(int fd);  // eth0
void set_mark(int fd, unsigned mark);
void bind_anywhere(int fd, bool transparent, const SocketAddress& from);  // IP_TRANSPARENT or IP_FREEBIND

// The dial with its preparation and connect() done by a thread with these rights and no others.
Dial without_rights(Dial dial);
Dial with_only(int capability, Dial dial);

// An address more for a pod, as long as this lives.
class SecondAddress {
public:
    SecondAddress(const Pod& pod, IpAddress ip);
    SecondAddress(const SecondAddress&) = delete;
    ~SecondAddress();

private:
    int netns_;
    IpAddress ip_;
};

// A call of client's to far, by pod address and by VIP, made as `how` says but for its target: it is answered through a
// tunnel, the app sees whom it dialled, and nothing else of it is on the pod's cable, not even a SYN. `early` is what
// was sent while connecting.
void check_sealed(World& world, Family family, Dial how, std::string_view early = {});

}
