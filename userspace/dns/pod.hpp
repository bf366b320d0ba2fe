// SPDX-License-Identifier: Apache-2.0
// One pod's questions, from their arrival to their answers. Lives on: the server's loop.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include <culvert/base/task.hpp>

#include "context.hpp"
#include "datagram.hpp"
#include "upstream.hpp"

namespace culvert::dns {

class PodHere {
public:
    PodHere(Context& context, Pod pod);
    ~PodHere();

    void listen(std::vector<Listener> listeners);
    void serve(base::Fd connection);

    // Takes no more; `empty` tells when all is answered.
    void wind_down();
    base::Event& empty() noexcept { return tasks_.empty(); }

private:
    class UdpDoor;
    class TcpDoor;

    // What is known without asking anybody. Empty: nothing is to be said, or `ask` says that others must be asked.
    struct Asked {
        Bytes answer = {};
        bool ask = false;
        Row* row = nullptr;
        std::size_t most_by_udp = 512;
    };
    Asked look_up(View request, Transport transport);
    base::Task<> answer_later(std::shared_ptr<UdpDoor> door, Parties parties, Bytes request, Asked asked);
    base::Task<> converse(base::Fd connection);
    base::Task<base::Result<Bytes>> ask(Transport transport, Bytes request, Row& row);
    bool has_room();

    Context& context_;
    Pod pod_;
    std::uint32_t asking_ = 0;
    std::uint32_t conversations_ = 0;
    bool leaving_ = false;
    std::vector<std::shared_ptr<UdpDoor>> udp_;  // shared with questions that are still to be answered through them
    std::vector<std::unique_ptr<TcpDoor>> tcp_;
    base::TaskGroup tasks_;  // last: uses all of the above
};

}
