// SPDX-License-Identifier: Apache-2.0
#include "node.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <utility>

#include <culvert/base/log.hpp>
#include <culvert/hbone/rehearsal.hpp>
#include <culvert/tls/authority.hpp>
#include <culvert/tls/rehearsal.hpp>

#include "admin_door.hpp"
#include "control_plane.hpp"
#include "doors.hpp"
#include "file_source.hpp"
#include "first_certificates.hpp"
#include "inspect.hpp"
#include "istio_metrics.hpp"
#include "mesh.hpp"
#include "metrics.hpp"
#include "notify.hpp"
#include "own_pod.hpp"
#include "part_settings.hpp"
#include "refused_log.hpp"
#include "revocation_file.hpp"
#include "signals.hpp"
#include "spare_memory.hpp"
#include "start_pages.hpp"
#include "tracing.hpp"
#include "version.hpp"

namespace culvert::node {
namespace {

std::unique_ptr<Source> source_of(Setup& setup, control::Config& config) {
    if (setup.cluster) return std::make_unique<ControlPlane>(std::move(*setup.cluster), config.node);
    return std::make_unique<FileSource>(std::move(setup.file), config);
}

// Of the Istio that we were deployed with, where there is one.
std::string istio_version() {
    const char* version = std::getenv("ISTIO_META_ISTIO_VERSION");
    return version ? version : "";
}

constexpr const char* take_over_part = "take-over";

}

class Node::Impl {
public:
    explicit Impl(Setup setup)
        : config_{std::move(setup.config)},
          take_over_{setup.take_over},
          source_{source_of(setup, config_)},
          signals_{io_, [this](int signal) { on_signal(signal); }},
          last_handshakes_{io_} {}

    base::Result<> start() {
        base::log::info("node", "culvertd {} ({}) starts as node {}", version, commit, config_.node.name);
        auto log = telemetry::AccessLog::open(config_.log.access == "stdout" ? "" : config_.log.access,
                                              config_.log.format, worker_count(config_) + 1);
        if (!log) return log.error();
        access_log_ = std::move(*log);
        if (auto opened = source_->open(io_, readiness_); !opened) return opened;
        source_->expose(metrics_);
        make_certificates();
        source_->when_known([this] { mesh_known(); });
        if (!outcome_ || went_) return outcome_;
        // There is time until then, but nobody is to wait only to hear that this kernel cannot do it.
        if (auto able = capture::Capture::check(capture_mode(config_)); !able) return able;
        return doors_.open(false);
    }

    bool replaced() const noexcept { return replaced_; }
    bool settled() const noexcept { return settled_; }
    bool told_to_end() const noexcept { return told_to_end_; }

    base::Result<> run() {
        if (auto heard = signals_.open(); !heard) return heard;
        io_.run();
        return outcome_;
    }

private:
    void make_certificates() {
        auto publish = [this](tls::CredentialsMapPtr credentials) {
            credentials_ = std::move(credentials);
            for (auto& worker : workers_) worker->publish(credentials_);
        };
        certificates_ = std::make_unique<tls::CertificateManager>(
            io_, source_->issuer(), std::chrono::duration_cast<std::chrono::seconds>(config_.ca.ttl), publish);
    }

    void mesh_known() {
        auto have_the_pods = [this] { return capture::Capture::is_held(config_.node.name); };
        auto ours = source_->identities();
        if (ours.empty() || !take_over_ || !have_the_pods()) return go_on();
        readiness_.pending(take_over_part);
        first_certificates_ =
            std::make_unique<FirstCertificates>(io_, *certificates_, std::move(ours), have_the_pods, [this] {
                readiness_.done(take_over_part);
                go_on();
            });
    }

    void go_on() {
        outcome_ = go();
        if (!outcome_) io_.stop();
    }

    base::Result<> go() {
        if (auto opened = open_capture(); !opened) return opened;  // first: it says best who else runs here
        if (auto opened = doors_.open(true); !opened) return opened;
        if (auto opened = open_revocations(); !opened) return opened;
        start_workers();
        istio_metrics_.expose(metrics_);
        expose(metrics_, *capture_, *certificates_, *access_log_, workers_, *pods_, reloads_, policy_hits_);
        capture_->on_notice({.listeners_lost = [this](const std::string& uid) { lost_listeners(uid); },
                             .superseded = [this] { hand_over(); }});
        site_.emplace(Site{io_, reloads_, mesh_, *pods_, [this](const auto& uids) { settled(uids); },
                           [this](const std::string& part) { say_ready(part); },
                           [this](const std::string& part) { readiness_.pending(part); }, [this] { renew_all(); }});
        went_ = true;
        source_->begin(*site_);
        return {};
    }

    Inspected inspected() {
        return {io_,           *source_, config_, readiness_, reloads_, access_log_, capture_,
                certificates_, workers_, pods_,   own_pod_,   mesh_,    tracing_};
    }

    Doors::Behind behind_the_doors() {
        auto refresh = [this](std::function<void()> done) { istio_metrics_.refresh(std::move(done)); };
        return {.metrics = [this, refresh] { return admin::metrics_routes(metrics_, refresh); },
                .ready = [this] { return admin::readiness_routes(readiness_); },
                .admin =
                    [this] {
                        return admin_routes({inspected(), source_->cluster()}, [this] { end(); });
                    },
                .control = [this] { return control_routes(inspected()); }};
    }

    base::Result<> open_capture() {
        auto capture = capture::Capture::start(io_, capture_settings(config_, take_over_));
        if (!capture) return capture.error();
        capture_ = std::move(*capture);
        refused_log_ = std::make_unique<RefusedLog>(io_, *access_log_, worker_count(config_), config_.node.network);
        capture_->add_reader(*refused_log_);
        capture_->add_reader(tracing_);
        capture_->add_reader(istio_metrics_);
        return {};
    }

    base::Result<> open_revocations() {
        if (config_.ca.crl.empty()) return {};
        auto file = RevocationFile::open(io_, config_.ca.crl);
        if (!file) return file.error();
        revocations_ = std::move(*file);
        revocations_->expose(metrics_);
        return {};
    }

    void start_workers() {
        auto limits = worker_limits(config_);
        auto need = [this](const state::Identity& identity) {
            boost::asio::post(io_, [this, identity] { certificates_->hurry(identity); });
        };
        proxy::Shared shared{*capture_, *access_log_, need};
        if (source_->cluster()) shared.unknown_pod = ": istiod has not told of it";
        if (source_->on_demand())
            shared.ask_mesh = [this](const std::string& name, std::function<void(bool)> answered) {
                boost::asio::post(
                    io_, [this, name, answered = std::move(answered)] { source_->ask(name, std::move(answered)); });
            };
        for (unsigned i = 0; i < worker_count(config_); ++i)
            workers_.push_back(std::make_unique<proxy::Worker>(i, shared, limits));
        if (credentials_)
            for (auto& worker : workers_) worker->publish(credentials_);
        if (config_.dns.on) start_dns();
        Pods::Names names{.server = dns_.get()};
        if (!config_.dns.redirected_to.empty()) names.redirected_to = config_.dns.redirected_to;
        if (!config_.ipv6) std::erase_if(names.redirected_to, [](const auto& each) { return !each.ip.is_v4(); });
        pods_ = std::make_unique<Pods>(io_, *capture_, *certificates_, workers_, std::move(names), config_.node.network,
                                       config_.shutdown_deadline);
        if (auto who = OwnPod::who(source_->cluster(), config_))
            own_pod_ = std::make_unique<OwnPod>(io_, *certificates_, workers_, std::move(*who), config_.keepalive,
                                                config_.shutdown_deadline);
    }

    void start_dns() {
        dns_ = std::make_unique<dns::Server>(dns_settings(config_, *capture_));
        metrics_.add([this](auto& families) { dns_->collect(families); });
    }

    void tell_mesh(const state::SnapshotPtr& mesh, const policy::SetPtr& policies) {
        capture_->tell_refused();  // while it is known which policy it was
        refused_log_->publish(mesh, policies);
        pods_->publish(policies);
        for (auto& worker : workers_) worker->publish(mesh, policies);
        if (own_pod_) own_pod_->publish(*mesh);
        if (dns_) dns_->publish(mesh);
    }

    // Five a second, so that a CA with many nodes like us is not asked for all at once.
    void renew_all() {
        using namespace std::chrono_literals;
        certificates_->renew_all(std::clamp<std::chrono::milliseconds>(pods_->size() * 200ms, 1s, 10min));
    }

    void settled(const std::optional<std::vector<std::string>>& uids) {
        if (auto released = uids ? capture_->release_all_but(*uids) : base::Result<>{}; !released)
            base::log::warn("node", "leftovers of an earlier daemon: {}", released.error().to_string());
        capture_->settled();
        settled_ = true;
        first_certificates_.reset();  // each pod has its own by now
        doors_.open_soon();
    }

    void say_ready(const std::string& part) {
        readiness_.done(part);
        if (ready_said_ || !readiness_.ready()) return;
        ready_said_ = true;
        const state::Snapshot& mesh = *mesh_.snapshot();
        base::log::info("node", "ready: {} pods, {} workloads, {} services, {} policies, {} workers", pods_->size(),
                        mesh.workloads().size(), mesh.services().size(), mesh_.policy_count(), workers_.size());
        notify("READY=1");
        boost::asio::post(io_, [this] { settle_in_memory(); });
    }

    // What the start needed goes, what the first connection needs comes.
    void settle_in_memory() {
        if (auto done = rehearse(); !done)
            base::log::warn("node", "a handshake with ourselves failed: {}", done.error().to_string());
        if (auto done = hbone::rehearse(); !done)
            base::log::warn("node", "a tunnel with ourselves failed: {}", done.error().to_string());
        spare_memory_.give_back();
        boost::asio::post(io_, forget_symbols);  // with what all this was the first to call
    }

    // Under a root of the moment: a control plane's certificates may not be here yet, and need not be.
    base::Result<> rehearse() {
        const state::Identity self{config_.node.trust_domain, "culvert", config_.node.name};
        auto root = tls::Authority::forgotten(config_.node.trust_domain);
        if (!root) return root.error();
        auto issued = (*root)->issue(self, std::chrono::minutes{1});
        if (!issued) return issued.error();
        auto own = tls::make_credentials(self, *issued);
        if (!own) return own.error();
        forget_start_pages();
        return tls::rehearse(*own);
    }

    void on_signal(int signal) {
        if (signal != SIGHUP) return told();
        access_log_->reopen();
        source_->look_again();
    }

    // The first one may come when a successor has us end anyway.
    void told() {
        if (!std::exchange(told_to_end_, true) && ending_) return;
        end();
    }

    void lost_listeners(const std::string& uid) {
        if (!ending_ && !replaced_) pods_->renew_listeners(uid);
    }

    // New connections meet the successor by now. Those whose handshake is under way are still ours.
    void hand_over() {
        replaced_ = true;
        readiness_.pending("a successor has taken over");
        doors_.close();
        source_->stop();
        pods_->leave_to_successor();
        if (own_pod_) own_pod_->close();
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
        source_->stop();
        if (!went_) return io_.stop();
        readiness_.pending("draining");
        notify("STOPPING=1");
        pods_->stop();
        if (own_pod_) own_pod_->stop();
        capture_->refuse_new();  // before the listeners go, or a SYN would wait for one of them
        base::log::info("node", "draining: connections have {} ms to finish", config_.shutdown_deadline.count());
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
    control::Config config_;
    const bool take_over_;
    boost::asio::io_context io_{1};
    std::unique_ptr<Source> source_;
    Signals signals_;
    boost::asio::steady_timer last_handshakes_;
    SpareMemory spare_memory_{io_};
    admin::Readiness readiness_;
    telemetry::Metrics metrics_{version, commit};
    Reloads reloads_;
    std::unique_ptr<telemetry::AccessLog> access_log_;
    std::unique_ptr<RevocationFile> revocations_;
    std::unique_ptr<capture::Capture> capture_;
    std::unique_ptr<RefusedLog> refused_log_;
    tls::CredentialsMapPtr credentials_;
    std::unique_ptr<tls::CertificateManager> certificates_;
    policy::Ledger policy_hits_{worker_count(config_) + 1};  // the last is the kernel's
    Mesh mesh_{io_, policy_hits_, [this](const auto& mesh, const auto& policies) { tell_mesh(mesh, policies); }};
    std::unique_ptr<dns::Server> dns_;  // workers hand connections to it
    Workers workers_;
    std::unique_ptr<Pods> pods_;
    std::unique_ptr<OwnPod> own_pod_;  // null where nobody said who we are
    Tracing tracing_{io_, workers_, config_.node.network, mesh_};
    IstioMetrics istio_metrics_{io_, workers_, pods_, mesh_, config_.node.network, istio_version()};
    std::optional<Site> site_;
    std::unique_ptr<FirstCertificates> first_certificates_;
    Doors doors_{io_, config_, take_over_, behind_the_doors()};
    base::Result<> outcome_;
    bool went_ = false;
    bool ready_said_ = false;
    bool ending_ = false;
    bool settled_ = false;
    bool replaced_ = false;
    bool told_to_end_ = false;
    std::size_t draining_ = 0;
};

Node::Node(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Node::~Node() = default;

base::Result<std::unique_ptr<Node>> Node::start(Setup setup) {
    auto impl = std::make_unique<Impl>(std::move(setup));
    if (auto started = impl->start(); !started) return started.error();
    return std::unique_ptr<Node>{new Node{std::move(impl)}};
}

base::Result<> Node::run() {
    return impl_->run();
}

bool Node::replaced() const noexcept {
    return impl_->replaced();
}

bool Node::settled() const noexcept {
    return impl_->settled();
}

bool Node::told_to_end() const noexcept {
    return impl_->told_to_end();
}

}
