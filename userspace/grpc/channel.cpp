// SPDX-License-Identifier: Apache-2.0
#include <culvert/grpc/channel.hpp>

#include <fmt/format.h>

#include <set>

#include "connection.hpp"

namespace culvert::grpc {

using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

struct Pending {
    explicit Pending(boost::asio::io_context& io) : timer{io} {}

    std::string method;
    std::string request;
    Clock::time_point deadline;
    std::chrono::milliseconds limit{};
    Channel::Done done;
    boost::asio::steady_timer timer;
    std::shared_ptr<Connection> connection;
    std::shared_ptr<Call> call;
    std::vector<std::string> answers;
    bool sent_again = false;
};

}

class Channel::Impl : public std::enable_shared_from_this<Impl> {
public:
    Impl(boost::asio::io_context& io, Target target, Limits limits)
        : io_{io}, target_{std::move(target)}, limits_{limits}, idle_{io} {}

    void call(std::string method, std::string request, std::chrono::milliseconds deadline, Done done) {
        auto pending = std::make_shared<Pending>(io_);
        pending->method = std::move(method);
        pending->request = std::move(request);
        pending->limit = deadline;
        pending->deadline = Clock::now() + deadline;
        pending->done = std::move(done);
        pending->timer.expires_at(pending->deadline);
        pending->timer.async_wait([pending](error_code cancelled) {
            if (!cancelled && pending->call) pending->connection->end(pending->call, late(*pending));
        });
        pending_.insert(pending);
        idle_.cancel();
        issue(pending);
    }

    void stop() {
        idle_.cancel();
        for (const auto& pending : std::exchange(pending_, {})) {
            pending->timer.cancel();
            pending->call->forget();
        }
        if (connection_) connection_->close();
        connection_.reset();
    }

private:
    static Status late(const Pending& pending) {
        return {
            Code::deadline_exceeded,
            fmt::format("{} within {} ms", pending.call->id < 0 ? "no connection" : "no answer", pending.limit.count()),
            Origin::us};
    }

    void issue(const std::shared_ptr<Pending>& pending) {
        auto on_message = [pending](std::string message) { pending->answers.push_back(std::move(message)); };
        auto on_end = [self = weak_from_this(), pending](const Status& status) {
            if (auto all = self.lock()) all->ended(pending, status);
        };
        pending->call = std::make_shared<Call>(pending->method, pending->deadline, limits_.message_bytes,
                                               Call::Events{nullptr, std::move(on_message), std::move(on_end)});
        pending->call->send(pending->request);
        pending->call->half_close();
        pending->connection = connected();
        pending->connection->add(pending->call);
    }

    const std::shared_ptr<Connection>& connected() {
        if (connection_ && connection_->takes_calls()) return connection_;
        // One that is on its way out still serves what it has.
        connection_ = std::make_shared<Connection>(io_, target_, limits_, nullptr);
        connection_->start();
        return connection_;
    }

    void ended(const std::shared_ptr<Pending>& pending, Status status) {
        // Closed between two calls, or on its way out: the server has not seen this one.
        if (!status.ok() && pending->call->unprocessed && !std::exchange(pending->sent_again, true))
            return issue(pending);
        if (pending_.erase(pending) == 0) return;
        pending->timer.cancel();
        // The server knows our deadline, too, and may be the first to say so.
        if (status.code == Code::deadline_exceeded && status.origin == Origin::server) status = late(*pending);
        if (status.ok() && pending->answers.size() != 1)
            status = {Code::internal, fmt::format("the server sent {} answers, not one", pending->answers.size()),
                      Origin::connection};
        if (pending_.empty()) rest();
        Reply reply{std::move(status), pending->answers.empty() ? std::string{} : std::move(pending->answers.front())};
        pending->call.reset();
        pending->connection.reset();
        std::exchange(pending->done, nullptr)(std::move(reply));
    }

    void rest() {
        idle_.expires_after(limits_.keep_idle);
        idle_.async_wait([self = shared_from_this()](error_code cancelled) {
            if (cancelled || !self->pending_.empty() || !self->connection_) return;
            self->connection_->close();
            self->connection_.reset();
        });
    }

    boost::asio::io_context& io_;
    const Target target_;
    const Limits limits_;
    std::set<std::shared_ptr<Pending>> pending_;
    std::shared_ptr<Connection> connection_;
    boost::asio::steady_timer idle_;
};

Channel::Channel(boost::asio::io_context& io, Target target, Limits limits)
    : impl_{std::make_shared<Impl>(io, std::move(target), limits)} {}

Channel::~Channel() {
    impl_->stop();
}

void Channel::call(std::string method, std::string request, std::chrono::milliseconds deadline, Done done) {
    impl_->call(std::move(method), std::move(request), deadline, std::move(done));
}

}
