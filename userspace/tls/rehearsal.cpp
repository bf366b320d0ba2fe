// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/rehearsal.hpp>

#include <array>
#include <utility>

#include <culvert/tls/channel.hpp>

namespace culvert::tls {
namespace {

struct End {
    Channel channel;
    Output sent;
};

base::Result<bool> step(End& end, End& other) {
    Output arrived = std::exchange(other.sent, {});
    end.channel.receive(arrived);
    return end.channel.handshake();
}

// Client's hello, the server's answer, the client's last word, and that the server has it.
base::Result<> shake_hands(End& client, End& server) {
    constexpr int rounds = 4;
    for (int round = 0; round < rounds; ++round) {
        auto client_done = step(client, server);
        if (!client_done) return client_done.error();
        auto server_done = step(server, client);
        if (!server_done) return server_done.error();
        if (*client_done && *server_done) return {};
    }
    return base::problem("neither end is done");
}

base::Result<> say(End& from, End& to) {
    constexpr std::array<std::byte, 64> words{};
    std::array<std::byte, words.size()> heard;
    if (auto sealed = from.channel.seal(words); !sealed) return sealed;
    Output arrived = std::exchange(from.sent, {});
    to.channel.receive(arrived);
    auto opened = to.channel.open(heard);
    if (!opened) return opened.error();
    if (*opened != words.size()) return base::problem("a record was cut");
    return {};
}

}

base::Result<> rehearse(const CredentialsPtr& own) {
    auto first = Channel::client(own, {own->identity.to_string()});
    if (!first) return first.error();
    auto second = Channel::server(own);
    if (!second) return second.error();
    End client{std::move(*first), {}}, server{std::move(*second), {}};
    client.channel.write_to(client.sent);
    server.channel.write_to(server.sent);
    if (auto done = shake_hands(client, server); !done) return done;
    if (auto done = say(client, server); !done) return done;
    if (auto done = say(server, client); !done) return done;
    client.channel.close();
    server.channel.close();
    return {};
}

}
