// SPDX-License-Identifier: Apache-2.0
// The tunnels a worker keeps open, per (pod, source identity, accepted identities, peer).
//
// Lives on: one worker. Owns: its sessions, which end when idle, and when the last stream has ended after retire() or
// drain(). Fails with: Error in the access log's words; never throws once constructed. How it starts says what failed:
//   "io error: ", "connection timed out, "        the TCP connection (the former with the errno as its code)
//   "tls handshake error: ", "identity verification error: "
//   "http status: "                               the peer's answer
//   "h2 failed: "                                 the tunnel
//   "over a limit: "                              ours (base::is_over_limit)
//   "pool draining", "connection closed due to connection drain"  ourselves
#pragma once
#include <compare>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <culvert/base/socket.hpp>
#include <culvert/hbone/settings.hpp>
#include <culvert/hbone/stream.hpp>
#include <culvert/tls/credentials.hpp>

namespace culvert::hbone {

struct PoolKey {
    std::string pod_uid;
    state::Identity source;
    std::vector<std::string> accepted;  // SPIFFE ids, in order
    base::SocketAddress peer;           // podIP:15008
    friend auto operator<=>(const PoolKey&, const PoolKey&) = default;
};

// Makes the TCP connection of a tunnel: from inside the pod, marked as ours, with keepalive and TCP_NODELAY.
class Dialer {
public:
    virtual base::Task<base::Result<std::unique_ptr<base::Socket>>> dial(const PoolKey& key) = 0;
    // Whether the pod still has an address that it dialled from. Asked when a peer is silent: answers may go nowhere.
    virtual bool still_has(const PoolKey&, const base::IpAddress&) { return true; }

protected:
    ~Dialer() = default;
};

struct PoolStats {
    std::uint64_t opened = 0;  // tunnels established
    std::uint64_t failed = 0;  // that could not be
    std::uint64_t live = 0;
    std::uint64_t streams = 0;  // CONNECTs answered 200
    std::uint64_t ping_timeouts = 0;
};

// Before a thread's first tunnel, while there is memory: the buffers that its tunnels share.
void prepare_tunnels_of_this_thread();

class Pool {
public:
    Pool(base::Loop& loop, Dialer& dialer, const Settings& settings);
    ~Pool();  // cuts what is left; no open() may be waiting

    // A stream to the peer that answered 200, on a warm tunnel if there is one. Two that need the same new tunnel share
    // one dial. A tunnel made with credentials that are no longer the given ones takes no new stream.
    // A request refused because the tunnel was just going away (GOAWAY, REFUSED_STREAM before any answer) is tried once
    // more on a new one.
    // `first` is what the stream says first: with the CONNECT where the peer takes it, else after the 200.
    base::Task<base::Result<Stream>> open(PoolKey key, tls::CredentialsPtr own, Request request,
                                          std::vector<std::byte> first = {});
    // There is a warm tunnel to a peer that takes bytes together with a CONNECT: one of ours. Others must not be sent
    // any before their 200.
    bool takes_first_bytes(const PoolKey& key) const noexcept;

    // Some certificates were renewed: tunnels with earlier ones take no new streams, and end with their last.
    void renew(const tls::CredentialsMap& known);

    // No new streams for this pod; its tunnels end with their last stream, or at once.
    void retire(const std::string& pod_uid, bool at_once);
    // The same for all of them, gracefully: close_notify after the last stream.
    void drain();
    bool empty() const noexcept;
    const PoolStats& stats() const noexcept;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}
