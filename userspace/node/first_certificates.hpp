// SPDX-License-Identifier: Apache-2.0
// What a daemon waits for before it takes pods from another: certificates, for who has the pods now has theirs. While
// the CA does not give them, the pods stay where they are.
//
// Lives on: the control thread. Owns: a use of each certificate, and a timer.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <set>
#include <string>

#include <culvert/tls/certificates.hpp>

namespace culvert::node {

class FirstCertificates {
public:
    // Asks for them. `go` is called once, never from inside this call: when all are here; or when the CA gives some and
    // has refused each of the others several times; or when nobody else has the pods any more.
    FirstCertificates(boost::asio::io_context& io, tls::CertificateManager& certificates,
                      std::set<state::Identity> identities, std::function<bool()> others_have_the_pods,
                      std::function<void()> go);
    // Those that nobody else has asked for by now are given up.
    ~FirstCertificates();
    FirstCertificates(const FirstCertificates&) = delete;

private:
    void look_soon();
    void look();
    void say(std::size_t missing, const std::string& why);

    tls::CertificateManager& certificates_;
    const std::set<state::Identity> identities_;
    std::function<bool()> others_have_the_pods_;
    std::function<void()> go_;
    boost::asio::steady_timer timer_;
    bool said_ = false;
};

}
