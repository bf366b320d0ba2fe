// SPDX-License-Identifier: Apache-2.0
#include <culvert/xds/client.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <culvert/base/log.hpp>
#include <culvert/grpc/stream.hpp>

#include "advice.hpp"
#include "backoff.hpp"

namespace culvert::xds {

namespace asio = boost::asio;
namespace log = base::log;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::string_view log_scope = "xds";
constexpr std::size_t most_refusals_logged = 10;  // of a response
constexpr const char* method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

std::chrono::milliseconds since(Clock::time_point then) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - then);
}

grpc::Limits limits_of(const Client::Options& options) {
    grpc::Limits limits = options.connection;
    limits.message_bytes = std::min(limits.message_bytes, options.limits.response_bytes);
    return limits;
}

}

class Client::Impl : public std::enable_shared_from_this<Impl> {
public:
    Impl(asio::io_context& io, grpc::Target istiod, Node node, Callbacks callbacks, Options options)
        : io_{io},
          istiod_{std::move(istiod)},
          callbacks_{std::move(callbacks)},
          limits_{limits_of(options)},
          conversation_{std::move(node), options.interest, options.limits},
          backoff_{options.pace, std::random_device{}()},
          timer_{io},
          patience_{options.pace.patience} {}

    void connect() {
        if (stopped_) return;
        ++stats_.connection;
        began_ = Clock::now();
        garbage_.clear();
        // Those of an earlier stream come no more: it is gone.
        stream_ = std::make_unique<grpc::Stream>(
            io_, istiod_, method,
            grpc::Stream::Events{[this] { begin(); }, [this](std::string_view bytes) { hear(bytes); },
                                 [this](const grpc::Status& status) { ended(status); }},
            limits_);
    }

    void stop() {
        stopped_ = true;
        callbacks_ = {};
        begun_ = false;
        stream_.reset();
        timer_.cancel();
        questions_.clear();
    }

    void ask(const std::string& name, std::chrono::milliseconds limit, std::function<void(Told)> done) {
        const Question question = conversation_.ask(name);
        using enum Question::State;
        if (question.state == held || question.state == refused) {
            const Told told = question.state == held ? Told::found : Told::too_late;
            asio::post(io_, [self = shared_from_this(), told, done = std::move(done)] {
                if (!self->stopped_) done(told);
            });
            return;
        }
        if (question.state == sent && begun_) stream_->send(question.request);
        auto asked = questions_.emplace(name, Asked{asio::steady_timer{io_, limit}, std::move(done)});
        asked->second.timer.async_wait([self = shared_from_this(), name, number = ++asked_](error_code cancelled) {
            if (!cancelled && !self->stopped_) self->too_late(name, number);
        });
        asked->second.number = asked_;
    }

    const Store& store() const noexcept { return store_; }
    Stats stats() const {
        Stats stats = stats_;
        stats.ready = conversation_.ready();
        return stats;
    }

private:
    struct Asked {
        asio::steady_timer timer;
        std::function<void(Told)> done;
        std::uint64_t number = 0;
    };

    void begin() {
        begun_ = true;
        for (std::string& request : conversation_.begin()) stream_->send(std::move(request));
        timer_.expires_after(patience_);
        timer_.async_wait([self = shared_from_this()](error_code cancelled) {
            if (!cancelled && self->begun_ && !self->stats_.connected) self->miss_answer();
        });
    }

    void miss_answer() {
        stats_.last_failure =
            fmt::format("istiod took our stream and has not answered for {} ms: is it overloaded?", patience_.count());
        log::warn(log_scope, "connection {} to {}: {}", stats_.connection, istiod_.address, stats_.last_failure);
    }

    void hear(std::string_view bytes) {
        if (!garbage_.empty()) return;
        const auto began = Clock::now();
        auto heard = conversation_.hear(bytes);
        if (!heard) {
            garbage_ = heard.error().to_string();
            stream_->cancel();
            return;
        }
        count(*heard, bytes.size());
        const bool changes = !heard->changes_nothing();
        store_.take(heard->kind, std::move(heard->changed), heard->removed);
        log::info(log_scope, "received response type_url=\"{}\" size={} removes={}", type_url(heard->kind),
                  heard->resources, heard->removed.size());
        log::debug(log_scope, "response of {} bytes taken on in {} ms", bytes.size(), since(began).count());

        // The owner may end us at any of these.
        auto self = shared_from_this();
        if (auto on_change = callbacks_.on_change; changes && on_change) on_change(heard->kind);
        if (stream_) stream_->send(std::move(heard->request));
        if (!was_ready_ && conversation_.ready()) {
            was_ready_ = true;
            if (auto on_ready = callbacks_.on_ready) on_ready();
        }
        for (const Answer& answer : heard->answers) answered(answer);
    }

    void count(const Heard& heard, std::size_t bytes) {
        if (!stats_.connected)
            log::info(log_scope, "connected to {} (connection {})", istiod_.address, stats_.connection);
        stats_.connected = true;
        stats_.last_failure.clear();
        stats_.stale_since.reset();
        stats_.last_message = Clock::now();
        Stats::OfKind& of = stats_.of[static_cast<std::size_t>(heard.kind)];
        ++of.responses;
        of.bytes += bytes;
        if (heard.refused.empty()) return;
        of.refused_resources += heard.refused.size();
        for (std::size_t i = 0; i < std::min(heard.refused.size(), most_refusals_logged); ++i)
            log::warn(log_scope, "{} {} of the control plane is refused: {}", to_string(heard.kind),
                      heard.refused[i].name, heard.refused[i].reason);
        if (heard.refused.size() > most_refusals_logged)
            log::warn(log_scope, "and {} more of this response are refused",
                      heard.refused.size() - most_refusals_logged);
    }

    void answered(const Answer& answer) {
        auto [first, last] = questions_.equal_range(answer.name);
        std::vector<std::function<void(Told)>> waiting;
        for (auto each = first; each != last; ++each) waiting.push_back(std::move(each->second.done));
        questions_.erase(first, last);
        if (auto request = conversation_.settle(answer.name); request && begun_) stream_->send(std::move(*request));
        for (const auto& done : waiting) done(answer.found ? Told::found : Told::missing);
    }

    void too_late(const std::string& name, std::uint64_t number) {
        auto [first, last] = questions_.equal_range(name);
        for (auto each = first; each != last; ++each) {
            if (each->second.number != number) continue;
            auto done = std::move(each->second.done);
            questions_.erase(each);
            // Others may wait longer for the same name.
            if (!questions_.contains(name))
                if (auto request = conversation_.give_up(name); request && begun_) stream_->send(std::move(*request));
            done(Told::too_late);
            return;
        }
    }

    void ended(const grpc::Status& status) {
        const auto lived = stats_.connected ? since(began_) : std::chrono::milliseconds{0};
        const Termination why = why_ended(status, !garbage_.empty());
        ++stats_.ended[static_cast<std::size_t>(why)];
        if (std::exchange(stats_.connected, false)) stats_.stale_since = Clock::now() - status.silence;
        begun_ = false;
        stream_.reset();
        const auto wait = backoff_.after(why, lived);
        const bool as_usual = why == Termination::complete || why == Termination::reconnect;
        if (as_usual && status.silence == std::chrono::milliseconds{0}) {
            log::info(log_scope, "connection {} to {} ended, as connections do: {}; the next one comes in {} ms",
                      stats_.connection, istiod_.address, status.to_string(), wait.count());
        } else {
            stats_.last_failure = garbage_.empty() ? advice(status, istiod_) : garbage_;
            log::warn(log_scope, "connection {} to {} failed: {}; {}the next try comes in {} ms", stats_.connection,
                      istiod_.address, stats_.last_failure,
                      stats_.last_message ? "what the mesh was told stays in force; " : "", wait.count());
        }
        timer_.expires_after(wait);
        timer_.async_wait([self = shared_from_this()](error_code cancelled) {
            if (!cancelled) self->connect();
        });
    }

    asio::io_context& io_;
    const grpc::Target istiod_;
    Callbacks callbacks_;
    const grpc::Limits limits_;
    Conversation conversation_;
    Store store_;
    Backoff backoff_;
    Stats stats_;
    std::unique_ptr<grpc::Stream> stream_;
    asio::steady_timer timer_;  // of the answer, then of the next try
    const std::chrono::milliseconds patience_;
    Clock::time_point began_;
    std::string garbage_;  // why we ended the stream
    bool begun_ = false;   // the stream takes requests
    bool was_ready_ = false;
    bool stopped_ = false;
    std::multimap<std::string, Asked> questions_;
    std::uint64_t asked_ = 0;
};

Client::Client(asio::io_context& io, grpc::Target istiod, Node node, Callbacks callbacks, Options options)
    : impl_{std::make_shared<Impl>(io, std::move(istiod), std::move(node), std::move(callbacks), std::move(options))} {
    impl_->connect();
}

Client::Client(asio::io_context& io, grpc::Target istiod, Node node, Callbacks callbacks)
    : Client{io, std::move(istiod), std::move(node), std::move(callbacks), Options{}} {}

Client::~Client() {
    impl_->stop();
}

void Client::ask(const std::string& name, std::chrono::milliseconds limit, std::function<void(Told)> done) {
    impl_->ask(name, limit, std::move(done));
}

const Store& Client::store() const noexcept {
    return impl_->store();
}

Stats Client::stats() const {
    return impl_->stats();
}

}
