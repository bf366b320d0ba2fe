// SPDX-License-Identifier: Apache-2.0
// Bytes both ways at once between an app that dials and one that answers, each checked where it arrives.
#pragma once
#include <future>

#include "lab.hpp"
#include "pattern.hpp"
#include "server.hpp"

namespace culvert::test {

// Who ends sending once it has said all: both at their own time, or the server after the client.
enum class Ends { each, client_first };

// In words what was wrong with it; empty when nothing was.
inline std::string exchange(const Pod& from, const SocketAddress& to, const Pod& at, std::uint64_t size,
                            Ends ends = Ends::each) {
    static const Pattern up{1};
    static const Pattern down{2};
    std::promise<Received> there;
    Server server{at.netns(), 8080, [&](Connection& connection) {
                      connection.limit(60s);
                      auto sending = std::async(std::launch::async, [&] {
                          pour(connection, down, size);
                          if (ends == Ends::each) connection.end_sending();
                      });
                      there.set_value(drain(connection, up));
                      sending.get();
                  }};
    Connection app = from.dial(to);
    app.limit(60s);
    auto sending = std::async(std::launch::async, [&] {
        pour(app, up, size);
        app.end_sending();
    });
    const Received here = drain(app, down);
    sending.get();
    const Received far = there.get_future().get();
    const auto wrong = [size](const char* side, const Received& got) {
        if (got.first_wrong)
            return side + std::string{" got wrong bytes at "} + std::to_string(*got.first_wrong) + "; ";
        return got.bytes == size ? std::string{} : side + std::string{" got "} + std::to_string(got.bytes) + " bytes; ";
    };
    return wrong("the client", here) + wrong("the server", far);
}

}
