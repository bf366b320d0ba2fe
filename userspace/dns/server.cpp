// SPDX-License-Identifier: Apache-2.0
#include <culvert/dns/server.hpp>

#include <pthread.h>

#include <map>
#include <thread>
#include <utility>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>

#include "pod.hpp"

namespace culvert::dns {

class Server::Impl {
public:
    explicit Impl(Settings settings)
        : settings_{std::move(settings)},
          context_{.loop = loop_,
                   .settings = settings_,
                   .counters = counters_,
                   .nameservers = {settings_.resolv_conf, settings_.nameserver_port}},
          leaving_{loop_} {
        thread_ = std::thread{[this] {
            ::pthread_setname_np(::pthread_self(), "dns");
            // Kept for each thread, while there is memory.
            (void)base::detail::home_netns();
            fmt::memory_buffer nothing;
            base::log::append_time(nothing, 0);
            loop_.run();
            leaving_.cancel_all();
            pods_.clear();  // on the thread they lived on
        }};
    }

    ~Impl() {
        loop_.stop();
        thread_.join();
    }

    const Settings& settings() const noexcept { return settings_; }
    const Counters& counters() const noexcept { return counters_; }

    void post(std::function<void()> work) { loop_.post(std::move(work)); }

    void publish(std::shared_ptr<const Names> names) { context_.names = std::move(names); }

    void add_pod(const Pod& pod, std::vector<Listener> listeners) {
        auto here = std::make_unique<PodHere>(context_, pod);
        here->listen(std::move(listeners));
        pods_[pod.uid] = std::move(here);
    }

    void renew(const std::string& uid, std::vector<Listener> listeners) {
        if (auto found = pods_.find(uid); found != pods_.end()) found->second->listen(std::move(listeners));
    }

    void remove_pod(const std::string& uid, std::chrono::milliseconds deadline, std::function<void()> gone) {
        auto found = pods_.find(uid);
        if (found == pods_.end()) return gone();
        // Out of the map at once: the same uid may come back with another netns.
        std::unique_ptr<PodHere> pod{std::move(found->second)};
        pods_.erase(found);
        leaving_.spawn(let_go(std::move(pod), deadline, std::move(gone)));
    }

    void serve(const std::string& uid, base::Fd connection) {
        if (auto found = pods_.find(uid); found != pods_.end()) found->second->serve(std::move(connection));
    }

private:
    base::Task<> let_go(std::unique_ptr<PodHere> pod, std::chrono::milliseconds deadline, std::function<void()> gone) {
        pod->wind_down();
        auto answered = base::within(loop_, deadline, "answer", wait_empty(*pod));
        (void)co_await std::move(answered);
        pod.reset();
        gone();
    }

    static base::Task<base::Result<>> wait_empty(PodHere& pod) {
        co_await pod.empty();
        co_return base::Result<>{};
    }

    Settings settings_;
    Counters counters_;
    base::Loop loop_;
    Context context_;
    std::map<std::string, std::unique_ptr<PodHere>> pods_;
    base::TaskGroup leaving_;
    std::thread thread_;
};

Server::Server(Settings settings) : impl_{std::make_unique<Impl>(std::move(settings))} {}
Server::~Server() = default;

void Server::publish(state::SnapshotPtr mesh) {
    auto names = std::make_shared<const Names>(std::move(mesh), impl_->settings().names);
    impl_->post([impl = impl_.get(), names] { impl->publish(names); });
}

// std::function wants copyable captures; listeners and connections are not.
void Server::add_pod(Pod pod, std::vector<Listener> listeners) {
    auto owned = std::make_shared<std::vector<Listener>>(std::move(listeners));
    impl_->post([impl = impl_.get(), pod = std::move(pod), owned] { impl->add_pod(pod, std::move(*owned)); });
}

void Server::renew_listeners(const std::string& uid, std::vector<Listener> listeners) {
    auto owned = std::make_shared<std::vector<Listener>>(std::move(listeners));
    impl_->post([impl = impl_.get(), uid, owned] { impl->renew(uid, std::move(*owned)); });
}

void Server::remove_pod(const std::string& uid, std::chrono::milliseconds deadline, std::function<void()> gone) {
    impl_->post([impl = impl_.get(), uid, deadline, gone = std::move(gone)] { impl->remove_pod(uid, deadline, gone); });
}

void Server::serve(const std::string& uid, base::Fd connection) {
    auto owned = std::make_shared<base::Fd>(std::move(connection));
    impl_->post([impl = impl_.get(), uid, owned] { impl->serve(uid, std::move(*owned)); });
}

void Server::collect(std::vector<prometheus::MetricFamily>& into) const {
    impl_->counters().collect(into);
}

}
