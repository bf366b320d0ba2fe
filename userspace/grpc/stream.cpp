// SPDX-License-Identifier: Apache-2.0
#include <culvert/grpc/stream.hpp>

#include "connection.hpp"

namespace culvert::grpc {

class Stream::Impl {
public:
    Impl(boost::asio::io_context& io, Target target, std::string method, Events events, Limits limits)
        : connection{std::make_shared<Connection>(io, std::move(target), limits, nullptr)} {
        auto on_end = [whole = connection, told = std::move(events.on_end)](const Status& status) {
            whole->close();
            if (told) told(status);
        };
        call = std::make_shared<Call>(std::move(method), std::nullopt, limits.message_bytes,
                                      Call::Events{std::move(events.on_open), std::move(events.on_message), on_end});
        connection->add(call);
        connection->start();
    }

    ~Impl() {
        call->forget();
        connection->close();
    }

    void cancel() { connection->end(call, {Code::cancelled, "cancelled", Origin::us}); }

    std::shared_ptr<Connection> connection;
    std::shared_ptr<Call> call;
};

Stream::Stream(boost::asio::io_context& io, Target target, std::string method, Events events, Limits limits)
    : impl_{std::make_shared<Impl>(io, std::move(target), std::move(method), std::move(events), limits)} {}

Stream::~Stream() = default;

void Stream::send(std::string message) {
    impl_->call->send(message);
    impl_->connection->wake(impl_->call);
}

void Stream::cancel() {
    impl_->cancel();
}

}
