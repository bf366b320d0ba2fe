// SPDX-License-Identifier: Apache-2.0
#include <culvert/proxy/worker.hpp>

#include <pthread.h>

#include <algorithm>
#include <map>
#include <thread>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>
#include <culvert/base/shortage.hpp>
#include <culvert/bpf/marks.h>

#include "acceptor.hpp"
#include "context.hpp"
#include "dial.hpp"
#include "inbound.hpp"
#include "outbound.hpp"
#include "passthrough.hpp"
#include "pump.hpp"

namespace culvert::proxy {
namespace {

using telemetry::CloseReason;

// All that is kept for each thread, while there is memory: without it the C library ends the process.
void prepare_this_thread() {
    hbone::prepare_tunnels_of_this_thread();
    prepare_pumps_of_this_thread();
    (void)base::detail::home_netns();
    fmt::memory_buffer nothing;
    base::log::append_time(nothing, 0);
}

// One pod as one worker sees it. Its tasks are destroyed first: they use everything above them.
class PodHere {
public:
    PodHere(Context& context, PodPtr pod)
        : context_{context},
          pod_{std::move(pod)},
          server_{context.loop, context.limits.hbone, context.handshakes},
          connections_{context.loop} {}

    const PodPtr& pod() const noexcept { return pod_; }
    base::TaskGroup& connections() noexcept { return connections_; }

    void listen(std::vector<capture::Listener> listeners) {
        for (auto& replaced : acceptors_) replaced->accept_rest();
        acceptors_.clear();
        for (auto& listener : listeners) {
            // Where rules of Istio's are in the pod, they take questions to a port of the DNS server's; or, without DNS
            // among them, they are to go where they are sent.
            bool asks_us = listener.arrival == capture::Arrival::outbound && listener.redirected_to == 0;
            auto handler = [this, arrival = listener.arrival, asks_us](Accepted accepted) {
                if (asks_us && accepted.target.port == CV_DNS_PORT && pod_->serve_dns)
                    answer(std::move(accepted));
                else
                    take(arrival, std::move(accepted));
            };
            acceptors_.push_back(std::make_unique<Acceptor>(context_, std::move(listener), std::move(handler)));
            if (auto started = acceptors_.back()->start(); !started)
                base::log::error("proxy", "pod {}: {}", pod_->name, started.error().to_string());
        }
    }

    std::size_t listeners() const noexcept { return acceptors_.size(); }

    void renew_certificate() {
        if (auto current = context_.certificates.find(pod_->identity)) server_.renew(current);
    }

    void wind_down() {
        acceptors_.clear();
        server_.drain();
    }

private:
    void answer(Accepted accepted) {
        capture::Flow no_flow = flow_of(context_, accepted.fd.get());  // its row is given back
        pod_->serve_dns(std::move(accepted.fd));
    }

    void take(capture::Arrival arrival, Accepted accepted) {
        if (context_.counters.connections_open.get() >= context_.limits.connections_per_worker) {
            (void)base::set_reset_on_close(accepted.fd.get(), true);
            context_.counters.closed[static_cast<std::size_t>(CloseReason::over_limit)].add();
            return;
        }
        auto lose = [this] { context_.counters.closed[static_cast<std::size_t>(CloseReason::over_limit)].add(); };
        base::shortage::guard(
            "a connection", [&] { connections_.spawn(carry(arrival, accepted)); }, lose);
    }

    base::Task<> carry(capture::Arrival arrival, Accepted& accepted) {
        switch (arrival) {
            case capture::Arrival::outbound: return carry_outbound(context_, pod_, accepted);
            case capture::Arrival::inbound_plain: return carry_passthrough(context_, pod_, std::move(accepted));
            case capture::Arrival::inbound_hbone:
            case capture::Arrival::dns: break;  // the latter is no worker's
        }
        return serve_tunnel(context_, pod_, server_, connections_, std::move(accepted));
    }

    Context& context_;
    PodPtr pod_;
    hbone::Server server_;
    std::vector<std::unique_ptr<Acceptor>> acceptors_;
    base::TaskGroup connections_;
};

}

class Worker::Impl : hbone::Dialer {
public:
    Impl(unsigned index, Shared shared, const Limits& limits)
        : limits_{limits},
          pool_{loop_, *this, limits_.hbone},
          refusals_{loop_, counters_},
          handshakes_{limits_.handshakes_per_worker, limits_.handshakes_per_source},
          shared_{std::move(shared)},
          certificates_{loop_, shared_.need_certificate, limits_, counters_},
          own_workloads_{loop_, limits_, shared_.unknown_pod},
          on_demand_{loop_, shared_.ask_mesh, limits_},
          context_{.loop = loop_,
                   .worker = index,
                   .shared = shared_,
                   .limits = limits_,
                   .counters = counters_,
                   .recorder = {shared_.access_log, index, counters_},
                   .pool = pool_,
                   .handshakes = handshakes_,
                   .refusals = refusals_,
                   .certificates = certificates_,
                   .own_workloads = own_workloads_,
                   .on_demand = on_demand_,
                   .mesh = {},
                   .policies = {}},
          housekeeping_{loop_},
          count_pool_{loop_, [this] { copy_pool_stats(); }} {
        copy_pool_stats();
        thread_ = std::thread{[this, index] {
            ::pthread_setname_np(::pthread_self(), ("worker-" + std::to_string(index)).c_str());
            prepare_this_thread();
            loop_.run();
            // On the thread they lived on: their destructors use the loop.
            housekeeping_.cancel_all();
            pods_.clear();
            pool_.drain();
        }};
    }

    ~Impl() {
        loop_.stop();
        thread_.join();
    }

    base::Loop& loop() noexcept { return loop_; }
    void publish(state::SnapshotPtr mesh, policy::SetPtr policies) {
        context_.mesh = std::move(mesh);
        context_.policies = std::move(policies);
        own_workloads_.publish(*context_.mesh);
        context_.enforced.ask_again();
        ask_enforced();
    }
    void publish(tls::CredentialsMapPtr credentials) {
        certificates_.publish(credentials);
        pool_.renew(*credentials);
        for (auto& [uid, pod] : pods_) pod->renew_certificate();
    }
    Context& context() noexcept { return context_; }
    const telemetry::WorkerCounters& counters() const noexcept { return counters_; }

    void add_pod(std::shared_ptr<const LocalPod> pod, std::vector<capture::Listener> listeners) {
        auto here = std::make_shared<PodHere>(context_, pod);
        here->listen(std::move(listeners));
        dialling_in_[pod->enrolment] = pod;
        pods_[pod->uid] = std::move(here);
    }

    void add_listeners(const std::string& uid, std::vector<capture::Listener> listeners) {
        if (auto found = pods_.find(uid); found != pods_.end()) found->second->listen(std::move(listeners));
    }

    void remove_pod(const std::string& uid, std::chrono::milliseconds deadline, std::function<void()> gone) {
        auto found = pods_.find(uid);
        if (found == pods_.end()) return gone();
        // Out of the map at once: the same uid may come back with another netns while this one drains.
        std::shared_ptr<PodHere> leaving{std::move(found->second)};
        pods_.erase(found);
        housekeeping_.spawn(let_go(std::move(leaving), deadline, std::move(gone)));
    }

    void drain(std::chrono::milliseconds deadline, std::function<void()> drained) {
        housekeeping_.spawn(let_all_go(deadline, std::move(drained)));
    }

    // Who asks while a look is under way gets what is left of it: its news are the first one's.
    void take_traffic(std::function<void(telemetry::TrafficReport)> reply) {
        ask_traffic_.push_back(std::move(reply));
        if (ask_traffic_.size() > 1) return;
        context_.recorder.begin_look();
        look_on();
    }

    std::map<std::string, PodUse> uses() const {
        auto uses = connections_of_pods(context_.recorder);
        for (const auto& [uid, pod] : pods_) uses[uid].listeners = pod->listeners();
        return uses;
    }

private:
    base::Task<> let_go(std::shared_ptr<PodHere> pod, std::chrono::milliseconds deadline, std::function<void()> gone) {
        pod->wind_down();
        std::string enrolment = pod->pod()->enrolment;
        co_await finished_or_late(pod->connections(), deadline);
        pod->connections().cancel_all();
        pool_.retire(enrolment, true);
        dialling_in_.erase(enrolment);
        pod.reset();
        gone();
    }

    base::Task<> let_all_go(std::chrono::milliseconds deadline, std::function<void()> drained) {
        auto until = base::Loop::Clock::now() + deadline;
        auto all = pods_;  // some may be removed meanwhile
        for (auto& [uid, pod] : all) pod->wind_down();
        for (auto& [uid, pod] : all) {
            auto left = until - base::Loop::Clock::now();
            co_await finished_or_late(pod->connections(), std::max(left, base::Loop::Clock::duration::zero()));
        }
        all.clear();
        pods_.clear();
        pool_.drain();
        // What says goodbye to the peers leaves at the end of a round.
        for (int i = 0; i < 20 && !pool_.empty(); ++i) co_await base::sleep_for(loop_, std::chrono::milliseconds{10});
        drained();
    }

    base::Task<> finished_or_late(base::TaskGroup& connections, base::Loop::Clock::duration limit) {
        auto waiting = wait_empty(connections);
        [[maybe_unused]] auto in_time = co_await base::within(loop_, limit, "drain", std::move(waiting));
    }

    static base::Task<base::Result<>> wait_empty(base::TaskGroup& connections) {
        co_await connections.empty();
        co_return base::Result<>{};
    }

    base::Task<base::Result<std::unique_ptr<base::Socket>>> dial(const hbone::PoolKey& key) override {
        auto found = dialling_in_.find(key.pod_uid);
        if (found == dialling_in_.end()) return pod_is_gone();
        return dial_out(context_, found->second, key.peer, WhenClosed::in_order);
    }

    bool still_has(const hbone::PoolKey& key, const base::IpAddress& ip) override {
        auto found = dialling_in_.find(key.pod_uid);
        return found == dialling_in_.end() || proxy::still_has(*found->second, ip);
    }

    static base::Task<base::Result<std::unique_ptr<base::Socket>>> pod_is_gone() {
        co_return base::problem("connection closed due to connection drain");
    }

    // A share each round: those that wait for their bytes must not notice.
    void ask_enforced() {
        if (context_.enforced.ask_some(context_, 128)) loop_.post([this] { ask_enforced(); });
    }

    void look_on() {
        if (context_.recorder.look_on(128)) return loop_.post([this] { look_on(); });
        auto report = context_.recorder.end_look();
        for (auto& reply : std::exchange(ask_traffic_, {}))
            reply({std::exchange(report.series, {}), report.outbound, report.inbound_plain});
    }

    void copy_pool_stats() {
        const auto& stats = pool_.stats();
        counters_.tunnels_out_opened.set(stats.opened);
        counters_.tunnels_out_failed.set(stats.failed);
        counters_.tunnels_out_open.set(stats.live);
        counters_.ping_timeouts.set(stats.ping_timeouts);
        count_pool_.arm(std::chrono::seconds{1});
    }

    Limits limits_;
    telemetry::WorkerCounters counters_;
    base::Loop loop_;
    hbone::Pool pool_;
    Refusals refusals_;
    hbone::Handshakes handshakes_;
    const Shared shared_;
    OwnCertificates certificates_;
    OwnWorkloads own_workloads_;
    OnDemand on_demand_;
    Context context_;
    std::map<std::string, PodPtr> dialling_in_;  // by enrolment; those that drain included
    std::map<std::string, std::shared_ptr<PodHere>> pods_;
    std::vector<std::function<void(telemetry::TrafficReport)>> ask_traffic_;
    base::TaskGroup housekeeping_;
    base::Timer count_pool_;
    std::thread thread_;
};

Worker::Worker(unsigned index, Shared shared, const Limits& limits)
    : impl_{std::make_unique<Impl>(index, shared, limits)} {}
Worker::~Worker() = default;

void Worker::publish(state::SnapshotPtr mesh, policy::SetPtr policies) {
    impl_->loop().post(
        [this, mesh = std::move(mesh), policies = std::move(policies)] { impl_->publish(mesh, policies); });
}

void Worker::publish(tls::CredentialsMapPtr credentials) {
    impl_->loop().post([this, credentials = std::move(credentials)] { impl_->publish(credentials); });
}

void Worker::add_pod(std::shared_ptr<const LocalPod> pod, std::vector<capture::Listener> listeners) {
    // std::function wants copyable captures; the listeners are not.
    auto owned = std::make_shared<std::vector<capture::Listener>>(std::move(listeners));
    impl_->loop().post([this, pod = std::move(pod), owned] { impl_->add_pod(pod, std::move(*owned)); });
}

void Worker::add_listeners(const std::string& uid, std::vector<capture::Listener> listeners) {
    auto owned = std::make_shared<std::vector<capture::Listener>>(std::move(listeners));
    impl_->loop().post([this, uid, owned] { impl_->add_listeners(uid, std::move(*owned)); });
}

void Worker::remove_pod(const std::string& uid, std::chrono::milliseconds deadline, std::function<void()> gone) {
    impl_->loop().post([this, uid, deadline, gone = std::move(gone)] { impl_->remove_pod(uid, deadline, gone); });
}

void Worker::drain(std::chrono::milliseconds deadline, std::function<void()> drained) {
    impl_->loop().post([this, deadline, drained = std::move(drained)] { impl_->drain(deadline, drained); });
}

void Worker::list(ConnectionQuery query, std::function<void(ConnectionPage)> reply) {
    impl_->loop().post([this, query = std::move(query), reply = std::move(reply)] {
        reply(page_of(impl_->context().recorder, query));
    });
}

void Worker::list_pods(std::function<void(std::map<std::string, PodUse>)> reply) {
    impl_->loop().post([this, reply = std::move(reply)] { reply(impl_->uses()); });
}

void Worker::take_traffic(std::function<void(telemetry::TrafficReport)> reply) {
    impl_->loop().post([this, reply = std::move(reply)] { impl_->take_traffic(reply); });
}

void Worker::trace(telemetry::TracePtr trace, std::function<void()> done) {
    impl_->loop().post([this, trace = std::move(trace), done = std::move(done)] {
        impl_->context().recorder.trace = trace;
        done();
    });
}

const telemetry::WorkerCounters& Worker::counters() const noexcept {
    return impl_->counters();
}

}
