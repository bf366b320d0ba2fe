// SPDX-License-Identifier: Apache-2.0
// TLS 1.3 on bytes that somebody else moves: no descriptor, no buffer of its own beyond OpenSSL's.
//
//   socket -> receive(ciphertext), open() until it gives nothing
//   seal(plaintext), close()      -> ciphertext appended to the Output -> socket
//
// Lives on: one worker. Not thread safe. Never throws.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <culvert/tls/credentials.hpp>

namespace culvert::tls {

// Ciphertext that waits to be sent. Grows as needed; the owner bounds it by not sealing while it is long.
using Output = std::vector<std::byte>;

class Channel {
public:
    // Verifies that the peer's certificate holds one URI SAN equal to one of `accepted` (whole string).
    // An empty list accepts nobody.
    static base::Result<Channel> client(CredentialsPtr own, std::vector<std::string> accepted);
    // Verifies that the peer's certificate holds a SPIFFE URI SAN of our own trust domain.
    static base::Result<Channel> server(CredentialsPtr own);

    Channel(Channel&&) noexcept;
    Channel& operator=(Channel&&) noexcept;
    ~Channel();

    // Where what we have to send is appended; borrowed for the length of the next calls.
    void write_to(Output& output) noexcept;

    // Ciphertext from the peer; borrowed until handshake() or open() say that they need more.
    void receive(std::span<const std::byte> ciphertext) noexcept;

    // One step. true: done; false: more input is needed. Output may have been appended in any case, also on failure
    // (the alert that says why). Fails with "tls handshake error: ..." or, when the name is wrong,
    // "identity verification error: peer did not present the expected SAN (...), got ..." (or "... trustdomain (...)").
    base::Result<bool> handshake();

    // Plaintext of what was received, as much as fits. 0: more input is needed, or the peer has closed.
    // Fails with "tls error: ...", after everything that was good has been given out; then for ever.
    base::Result<std::size_t> open(std::span<std::byte> plaintext);
    // close_notify has been read. An end of the socket without it is a cut: the owner must not take it for an end.
    bool peer_closed() const noexcept;

    // Appends the records of this plaintext to the output.
    base::Result<> seal(std::span<const std::byte> plaintext);
    // Appends close_notify.
    void close() noexcept;

    // After the handshake: the first SPIFFE URI SAN of the peer (what policy and logs use).
    const std::optional<state::Identity>& peer() const noexcept;

    // When the peer's certificate ends.
    SystemTime peer_good_until() const noexcept;

    // The peer's certificate has been taken back since. Looks only where there is a list that it has not seen.
    bool revoked() noexcept;

private:
    struct Impl;
    explicit Channel(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}
