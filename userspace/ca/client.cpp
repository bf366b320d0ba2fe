// SPDX-License-Identifier: Apache-2.0
#include <culvert/ca/client.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <culvert/grpc/channel.hpp>

#include "messages.hpp"

namespace culvert::ca {

class Client::Impl {
public:
    Impl(boost::asio::io_context& i, grpc::Target t, const Options& o)
        : io{i}, target{t}, options{o}, channel{i, std::move(t), o.connection} {}

    boost::asio::io_context& io;
    const grpc::Target target;
    const Options options;
    grpc::Channel channel;
};

Client::Client(boost::asio::io_context& io, grpc::Target ca, const Options& options)
    : impl_{std::make_shared<Impl>(io, std::move(ca), options)} {}
Client::Client(boost::asio::io_context& io, grpc::Target ca) : Client{io, std::move(ca), Options{}} {}
Client::~Client() = default;

void Client::issue(const state::Identity& identity, std::chrono::seconds lifetime, Issued issued) {
    auto csr = tls::make_csr(identity);
    if (!csr) {
        boost::asio::post(impl_->io, [weak = std::weak_ptr{impl_}, issued = std::move(issued), why = csr.error()] {
            if (!weak.expired()) issued(why);
        });
        return;
    }
    auto request = request_bytes(csr->pem, lifetime, impl_->options.impersonates ? &identity : nullptr);
    auto answered = [impl = impl_.get(), identity, key = std::move(csr->key),
                     issued = std::move(issued)](grpc::Reply reply) {
        if (!reply.status.ok()) return issued(failure(reply.status, impl->target, identity));
        auto chain = chain_of(reply.message);
        issued(chain ? tls::pem_of(std::move(*chain), key) : chain.error());
    };
    impl_->channel.call(create_certificate, std::move(request), impl_->options.deadline, std::move(answered));
}

}
