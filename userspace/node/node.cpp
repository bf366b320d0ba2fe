// SPDX-License-Identifier: Apache-2.0
#include "node.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <csignal>
#include <thread>
#include <utility>

#include <culvert/admin/control_socket.hpp>
#include <culvert/admin/doors.hpp>
#include <culvert/base/log.hpp>
#include <culvert/control/changes.hpp>
#include <culvert/control/watch.hpp>
#include <culvert/tls/authority.hpp>
#include <culvert/tls/rehearsal.hpp>

#include "inspect.hpp"
#include "metrics.hpp"
#include "notify.hpp"
#include "refused_log.hpp"
#include "revocation_file.hpp"
#include "spare_memory.hpp"
#include "start_pages.hpp"
#include "tracing.hpp"
#include "version.hpp"

namespace culvert::node {
namespace {

proxy::Limits limits_of(const control::Config& config) {
    proxy::Limits limits;
    limits.keepalive = config.keepalive;
    limits.connect = config.limits.connect_timeout;
    limits.connections_per_worker = config.limits.max_connections_per_worker;
    limits.hbone.connect = config.limits.connect_timeout;
    limits.handshakes_per_worker = config.limits.max_handshakes_per_worker;
    limits.handshakes_per_source = config.limits.max_handshakes_per_source;
    limits.hbone.server_tunnels = config.limits.max_tunnels_per_pod;
    limits.hbone.server_tunnels_of_one = config.limits.max_tunnels_per_source;
    limits.hbone.pool_tunnels = config.limits.max_tunnels_per_peer;
    limits.hbone.server_streams = config.limits.max_streams_per_tunnel;
    limits.hbone.server_header_list = config.limits.max_header_bytes;
    limits.hbone.control_frames_per_second = config.limits.control_frames_per_second;
    limits.hbone.handshake = config.limits.handshake_timeout;
    return limits;
}

base::Result<std::unique_ptr<tls::Authority>> open_authority(const control::Config& config) {
    if (!config.ca.certificate.empty()) return tls::Authority::load(config.ca.certificate, config.ca.key);
    return tls::Authority::keep(config.ca.directory, config.node.trust_domain);
}

unsigned worker_count(const control::Config& config) {
    return config.workers != 0 ? config.workers : std::max(1u, std::thread::hardware_concurrency());
}

}

class Node::Impl {
public:
    Impl(std::string file, control::Config config, bool take_over)
        : file_{std::move(file)},
          config_{std::move(config)},
          take_over_{take_over},
          signals_{io_},
          doors_later_{io_},
          policies_later_{io_},
          last_handshakes_{io_} {}

    base::Result<> start() {
        base::log::info("node", "culvertd {} ({}) starts as node {}", version, commit, config_.node.name);
        readiness_.pending("pods");
        auto watch = control::FileWatch::start(io_, file_, [this] { reload(); });
        if (!watch) return watch.error();
        watch_ = std::move(*watch);
        if (auto opened = open_parts(); !opened) return opened;  // first: it says best who else runs here
        if (auto opened = open_doors(); !opened) return opened;
        if (auto opened = open_revocations(); !opened) return opened;
        start_workers();
        publish_mesh();
        std::vector<std::string> uids;
        for (const auto& pod : config_.pods) uids.push_back(pod.uid);
        for (const auto& pod : config_.pods) pods_->join(pod);
        if (auto released = capture_->release_all_but(uids); !released)
            base::log::warn("node", "leftovers of an earlier daemon: {}", released.error().to_string());
        expose(metrics_, *capture_, *certificates_, *access_log_, workers_, *pods_, reloads_, policy_hits_);
        pods_->on_change([this] { say_ready(); });
        capture_->on_notice({.listeners_lost = [this](const std::string& uid) { lost_listeners(uid); },
                             .superseded = [this] { hand_over(); }});
        capture_->settled();
        say_ready();
        return {};
    }

    bool replaced() const noexcept { return replaced_; }

    void run() {
        signals_.add(SIGTERM);
        signals_.add(SIGINT);
        signals_.add(SIGHUP);
        wait_for_signal();
        reload();  // main read the file before anybody watched it
        io_.run();
    }

private:
    // The daemon that we replace has them open still, and closes them when it hears that we are settled.
    base::Result<> open_doors() {
        auto opened = open_doors_now();
        if (opened || !take_over_) return opened;
        doors_.clear();
        if (!std::exchange(doors_said_, true))
            base::log::info("node", "trying until it works: {}", opened.error().to_string());
        doors_later_.expires_after(std::chrono::milliseconds{100});
        doors_later_.async_wait([this](boost::system::error_code cancelled) {
            if (!cancelled) (void)open_doors();
        });
        return {};
    }

    base::Result<> open_doors_now() {
        if (config_.doors.metrics) {
            auto door = admin::Door::open(io_, *config_.doors.metrics, admin::metrics_routes(metrics_));
            if (!door) return door.error();
            doors_.push_back(std::move(*door));
        }
        if (config_.doors.ready) {
            auto door = admin::Door::open(io_, *config_.doors.ready, admin::readiness_routes(readiness_));
            if (!door) return door.error();
            doors_.push_back(std::move(*door));
        }
        return open_control_door();
    }

    // Nobody asked for the usual one: without it the node works all the same.
    base::Result<> open_control_door() {
        auto path = config_.doors.control.value_or(admin::control_socket(config_.node.name));
        if (path.empty()) return {};
        Inspected inspected{io_,           file_,    config_, readiness_, reloads_,  access_log_, capture_,
                            certificates_, workers_, pods_,   mesh_,      policies_, tracing_};
        auto door = admin::Door::open_local(io_, path, control_routes(inspected));
        if (door)
            doors_.push_back(std::move(*door));
        else if (config_.doors.control || take_over_)
            return door.error();
        else
            base::log::warn("node", "no culvertctl: {}", door.error().to_string());
        return {};
    }

    base::Result<> open_parts() {
        auto log = telemetry::AccessLog::open(config_.log.access == "stdout" ? "" : config_.log.access,
                                              config_.log.format, worker_count(config_) + 1);
        if (!log) return log.error();
        access_log_ = std::move(*log);
        auto authority = open_authority(config_);
        if (!authority) return authority.error();
        authority_ = std::move(*authority);
        auto mode = config_.capture == control::CaptureMode::ebpf ? capture::Mode::ebpf : capture::Mode::iptables;
        auto capture = capture::Capture::start(io_, {.mode = mode,
                                                     .instance = config_.node.name,
                                                     .workers = worker_count(config_),
                                                     .max_pods = config_.limits.max_pods,
                                                     .max_flows = config_.limits.max_flows,
                                                     .keepalive = config_.keepalive,
                                                     .take_over = take_over_});
        if (!capture) return capture.error();
        capture_ = std::move(*capture);
        refused_log_ = std::make_unique<RefusedLog>(io_, *access_log_, worker_count(config_), config_.node.network);
        capture_->add_reader(*refused_log_);
        capture_->add_reader(tracing_);
        return {};
    }

    base::Result<> open_revocations() {
        if (config_.ca.crl.empty()) return {};
        auto file = RevocationFile::open(io_, config_.ca.crl);
        if (!file) return file.error();
        revocations_ = std::move(*file);
        metrics_.add(telemetry::families::revoked, [this] { return static_cast<double>(revocations_->size()); });
        metrics_.add(telemetry::families::revocation_reloads, [this] {
            return std::vector<telemetry::Sample>{{"good", static_cast<double>(revocations_->good())},
                                                  {"bad", static_cast<double>(revocations_->bad())}};
        });
        return {};
    }

    void start_workers() {
        auto limits = limits_of(config_);
        for (unsigned i = 0; i < worker_count(config_); ++i)
            workers_.push_back(std::make_unique<proxy::Worker>(i, proxy::Shared{*capture_, *access_log_}, limits));
        auto publish = [this](tls::CredentialsMapPtr credentials) {
            for (auto& worker : workers_) worker->publish(credentials);
        };
        certificates_ = std::make_unique<tls::CertificateManager>(
            io_, *authority_, std::chrono::duration_cast<std::chrono::seconds>(config_.ca.ttl), publish);
        pods_ = std::make_unique<Pods>(io_, *capture_, *certificates_, workers_, config_.node.network,
                                       config_.shutdown_deadline);
    }

    void publish_mesh() {
        mesh_ = std::make_shared<const state::Snapshot>(config_.workloads, config_.services);
        publish_policies();
    }

    // Again when a policy that a workload names has been waited for long enough.
    void publish_policies() {
        const auto now = policy::Awaited::Clock::now();
        const auto awaited = awaited_policies_.after(*mesh_, config_.policies, now);
        policies_ = std::make_shared<const policy::Set>(
            *mesh_, config_.policies, policy_hits_, config_.unknown_policy.value_or(policy::Unknown::deny), awaited);
        capture_->tell_refused();  // while it is known which policy it was
        refused_log_->publish(mesh_, policies_);
        pods_->publish(policies_);
        for (auto& worker : workers_) worker->publish(mesh_, policies_);
        policies_later_.cancel();
        if (auto next = awaited_policies_.next(now)) {
            policies_later_.expires_at(*next);
            policies_later_.async_wait([this](boost::system::error_code failed) {
                if (!failed) publish_policies();
            });
        }
    }

    void say_ready() {
        if (ready_said_ || pods_->waiting() > 0) return;
        ready_said_ = true;
        readiness_.done("pods");
        base::log::info("node", "ready: {} pods, {} workloads, {} services, {} policies, {} workers", pods_->size(),
                        config_.workloads.size(), config_.services.size(), config_.policies.size(), workers_.size());
        notify("READY=1");
        boost::asio::post(io_, [this] { settle_in_memory(); });
    }

    // What the start needed goes, what the first connection needs comes.
    void settle_in_memory() {
        if (auto done = rehearse(); !done)
            base::log::warn("node", "a handshake with ourselves failed: {}", done.error().to_string());
        spare_memory_.give_back();
    }

    base::Result<> rehearse() {
        const state::Identity self{config_.node.trust_domain, "culvert", config_.node.name};
        auto issued = authority_->issue(self, std::chrono::minutes{1});
        if (!issued) return issued.error();
        auto own = tls::make_credentials(self, *issued);
        if (!own) return own.error();
        forget_start_pages();
        return tls::rehearse(*own);
    }

    void reload() {
        if (ending_ || replaced_) return;
        auto fresh = control::load_config(file_);
        if (!fresh) {
            ++reloads_.refused;
            reloads_.last = std::chrono::system_clock::now();
            reloads_.error = fresh.error().to_string();
            base::log::error("control", "{}. The last good configuration goes on", fresh.error().to_string());
            return;
        }
        auto changes = control::diff(config_, *fresh);
        reloads_.error.clear();
        if (changes.none()) return;
        ++reloads_.applied;
        reloads_.last = std::chrono::system_clock::now();
        for (const auto& key : changes.need_restart)
            base::log::warn("control", "{}: the new value of {} waits for a restart", file_, key);
        // What waits for a restart must be found different again by the next reload.
        config_.pods = std::move(fresh->pods);
        config_.workloads = std::move(fresh->workloads);
        config_.services = std::move(fresh->services);
        config_.policies = std::move(fresh->policies);
        config_.unknown_policy = fresh->unknown_policy;
        config_.log.level = fresh->log.level;
        if (changes.log_level) base::log::configure(config_.log.level, config_.log.format);
        if (changes.mesh) publish_mesh();
        auto successor = [&](const control::Pod& pod) {
            return std::ranges::find_if(changes.joined, [&](const auto& other) { return other.uid == pod.uid; });
        };
        for (const auto& pod : changes.left) {
            auto next = successor(pod);
            next == changes.joined.end() ? pods_->leave(pod) : pods_->replace(pod, *next);
        }
        auto is_new = [&](const control::Pod& pod) {
            return std::ranges::none_of(changes.left, [&](const auto& other) { return other.uid == pod.uid; });
        };
        for (const auto& pod : changes.joined)
            if (is_new(pod)) pods_->join(pod);
        for (const auto& pod : changes.excluding) pods_->exclude(pod);
        base::log::info("control", "{} applied: {} pods joined, {} left{}{}", file_, changes.joined.size(),
                        changes.left.size(), changes.mesh ? ", the mesh changed" : "",
                        changes.excluding.empty() ? "" : ", exclusions changed");
    }

    void wait_for_signal() {
        signals_.async_wait([this](boost::system::error_code failed, int signal) {
            if (failed) return;
            if (signal == SIGHUP) {
                access_log_->reopen();
                reload();
            } else {
                end();
            }
            wait_for_signal();
        });
    }

    void lost_listeners(const std::string& uid) {
        if (!ending_ && !replaced_) pods_->renew_listeners(uid);
    }

    // New connections meet the successor by now. Those whose handshake is under way are still ours.
    void hand_over() {
        replaced_ = true;
        readiness_.pending("a successor has taken over");
        doors_.clear();
        doors_later_.cancel();
        pods_->leave_to_successor();
        last_handshakes_.expires_after(std::chrono::seconds{5});
        last_handshakes_.async_wait([this](boost::system::error_code cancelled) {
            if (!cancelled && !ending_) end();
        });
    }

    void end() {
        if (ending_) {
            base::log::warn("node", "a second signal: ending now");
            io_.stop();
            return;
        }
        ending_ = true;
        readiness_.pending("draining");
        notify("STOPPING=1");
        base::log::info("node", "draining: connections have {} ms to finish", config_.shutdown_deadline.count());
        capture_->refuse_new();  // before the listeners go, or a SYN would wait for one of them
        draining_ = workers_.size();
        for (auto& worker : workers_)
            worker->drain(config_.shutdown_deadline, [this] { boost::asio::post(io_, [this] { one_drained(); }); });
    }

    void one_drained() {
        if (--draining_ > 0) return;
        base::log::info("node", "drained: bye");
        tracing_.end();
        boost::asio::post(io_, [this] { io_.stop(); });  // after what that has to say
    }

    // In the order in which they are needed: the workers end before what they borrow.
    std::string file_;
    control::Config config_;
    const bool take_over_;
    boost::asio::io_context io_{1};
    boost::asio::signal_set signals_;
    boost::asio::steady_timer doors_later_;
    boost::asio::steady_timer policies_later_;
    boost::asio::steady_timer last_handshakes_;
    SpareMemory spare_memory_{io_};
    admin::Readiness readiness_;
    telemetry::Metrics metrics_{version, commit};
    Reloads reloads_;
    std::unique_ptr<telemetry::AccessLog> access_log_;
    std::unique_ptr<tls::Authority> authority_;
    std::unique_ptr<RevocationFile> revocations_;
    std::unique_ptr<capture::Capture> capture_;
    std::unique_ptr<RefusedLog> refused_log_;
    std::unique_ptr<tls::CertificateManager> certificates_;
    policy::Ledger policy_hits_{worker_count(config_) + 1};  // the last is the kernel's
    policy::Awaited awaited_policies_;
    state::SnapshotPtr mesh_;  // as they were published last
    policy::SetPtr policies_;
    Workers workers_;
    std::unique_ptr<Pods> pods_;
    Tracing tracing_{io_, workers_, config_.node.network, mesh_, policies_};
    std::vector<std::unique_ptr<admin::Door>> doors_;
    std::unique_ptr<control::FileWatch> watch_;
    bool ready_said_ = false;
    bool ending_ = false;
    bool replaced_ = false;
    bool doors_said_ = false;
    std::size_t draining_ = 0;
};

Node::Node(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Node::~Node() = default;

base::Result<std::unique_ptr<Node>> Node::start(std::string config_file, control::Config config, bool take_over) {
    auto impl = std::make_unique<Impl>(std::move(config_file), std::move(config), take_over);
    if (auto started = impl->start(); !started) return started.error();
    return std::unique_ptr<Node>{new Node{std::move(impl)}};
}

void Node::run() {
    impl_->run();
}

bool Node::replaced() const noexcept {
    return impl_->replaced();
}

}
