// SPDX-License-Identifier: Apache-2.0
// Two ends of real tunnels on one loop: a CA, a listener on loopback with a Server, and a Pool that dials it.
#pragma once
#include <culvert/base/task.hpp>
#include <culvert/hbone/pool.hpp>
#include <culvert/hbone/server.hpp>
#include <culvert/tls/authority.hpp>

#include <doctest/doctest.h>

#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace fixtures {

using namespace culvert;
using namespace std::chrono_literals;
using base::Loop;
using base::Task;
using hbone::Filled;
using hbone::Outcome;

// Certificates for spiffe://cluster.local/ns/test/sa/<name>, from one root for the whole run.
tls::CredentialsPtr credentials(const std::string& service_account, std::chrono::seconds lifetime = 1h);
std::string spiffe(const std::string& service_account);

// The byte at this place of every stream that is checked.
inline std::byte pattern(std::uint64_t at) {
    return static_cast<std::byte>(at * 131 ^ at >> 9);
}

// Sends `to_send` bytes of the pattern, then its end unless told to hold it, and checks that the pattern comes in.
class Talker final : public hbone::StreamUser {
public:
    hbone::Stream stream;
    std::uint64_t to_send = 0;
    bool then_end = true;
    bool reads = true;          // false: takes what comes, but never gives the window back
    bool gone_on_data = false;  // destroys its stream in the middle of a batch
    bool gone_on_end = false;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    bool sent_end = false;
    bool got_end = false;
    bool corrupt = false;
    std::string reset;  // the error's text
    std::size_t fills = 0;
    std::size_t batches = 0;

    void start(hbone::Stream s);
    void say(std::uint64_t bytes);  // more of it
    void finish();                  // the end, after what was said
    void read_again();
    bool done() const { return sent_end && got_end; }

    Filled fill(std::span<std::byte> room) override;
    void on_data(std::span<const std::byte> data) override;
    void on_batch_end() override;
    void on_end() override;
    void on_reset(const base::Error& why) override;

private:
    std::uint64_t unread_ = 0;
};

// Gives back what it gets, byte for byte, and ends when the peer has.
class Echo final : public hbone::StreamUser {
public:
    void start(hbone::Stream s);
    hbone::Stream stream;
    bool ended = false;
    std::string reset;
    std::size_t most_held = 0;

    Filled fill(std::span<std::byte> room) override;
    void on_data(std::span<const std::byte> data) override;
    void on_batch_end() override;
    void on_end() override;
    void on_reset(const base::Error& why) override;

private:
    std::vector<std::byte> held_;
    bool got_end_ = false;
};

struct World final : hbone::Dialer, hbone::RequestHandler {
    explicit World(hbone::Settings client = {}, hbone::Settings server = {}, const char* loopback = "127.0.0.1");
    ~World();

    // Runs the loop until the story has ended.
    void play(Task<> story);
    // False when it did not come true in time.
    Task<bool> until(std::function<bool()> truth, std::chrono::milliseconds limit = 10s);
    Task<base::Result<hbone::Stream>> open(std::string to = "10.0.0.7:8080");
    hbone::PoolKey key(const std::string& pod = "pod-1") const;

    Loop loop;
    hbone::Handshakes handshakes{1000, 1000};
    base::TaskGroup tasks{loop};
    tls::CredentialsPtr client_credentials = credentials("client");
    tls::CredentialsPtr server_credentials = credentials("server");
    std::vector<std::string> accepted{spiffe("server")};
    base::SocketAddress address;                     // of the listener
    std::function<void(hbone::Incoming)> answer;     // default: echo
    std::function<void(base::Fd)> takes_connection;  // default: the server
    std::deque<std::unique_ptr<Echo>> echoes;
    std::vector<std::string> server_ends;  // what serve() answered: "" is fine
    std::vector<hbone::TunnelInfo> infos;
    int dials = 0;
    bool address_lost = false;  // what the pool is told of the pod
    std::unique_ptr<hbone::Server> server;
    std::unique_ptr<hbone::Pool> pool;

    Task<base::Result<std::unique_ptr<base::Socket>>> dial(const hbone::PoolKey& key) override;
    bool still_has(const hbone::PoolKey&, const base::IpAddress&) override { return !address_lost; }
    void on_request(hbone::Incoming incoming) override;

private:
    Task<> accept();
    Task<> serve(base::Fd fd);
    Task<> run(Task<> story);
    std::unique_ptr<base::Socket> listener_;
    bool over_ = false;
};

// Who has asked for a stream, and what came of it.
struct Opening {
    std::string error;
    hbone::Stream stream;
    bool over = false;

    Task<> wait(Task<base::Result<hbone::Stream>> asked);
};

}
