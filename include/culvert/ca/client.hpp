// SPDX-License-Identifier: Apache-2.0
// Istio's CA as the issuer of this node's certificates: istiod, or whoever else answers CreateCertificate.
//
// Lives on: the thread that runs the io_context. Answers never come from inside issue().
#pragma once
#include <chrono>
#include <memory>

#include <culvert/grpc/target.hpp>
#include <culvert/tls/issuer.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::ca {

class Client final : public tls::Issuer {
public:
    struct Options {
        // We ask for others' identities, which the CA must trust us with; else for our own, whatever we call it.
        bool impersonates = true;
        std::chrono::milliseconds deadline{10'000};
        grpc::Limits connection;
    };

    Client(boost::asio::io_context& io, grpc::Target ca, const Options& options);
    Client(boost::asio::io_context& io, grpc::Target ca);
    ~Client();

    // Fails in words for the log and for whoever waits: who said no, and what to look at.
    void issue(const state::Identity& identity, std::chrono::seconds lifetime, Issued issued) override;

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}
