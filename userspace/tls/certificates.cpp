// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/certificates.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <map>
#include <random>

#include <culvert/base/log.hpp>

#include "openssl.hpp"

namespace culvert::tls {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::system_clock;

constexpr auto longest_sleep = 1s;     // the wall clock may have jumped: look at it this often
constexpr auto shortest_life = 500ms;  // a root in its last seconds must not make us spin
constexpr double spread = 0.05;        // of half a life, so that a node's certificates do not stay in step
constexpr auto first_retry = 1s;       // ztunnel's backoff: 1 s, doubled, at most 150 s, each +-20 %
constexpr auto longest_retry = 150s;
constexpr double retry_spread = 0.2;

struct Entry {
    std::size_t uses = 1;
    CredentialsPtr current;
    SystemTime renew_at;     // by the wall clock, which may jump
    Steady::time_point due;  // and by the one that does not
    Steady::duration next_retry = first_retry;
    std::uint64_t renewals = 0;
    std::uint64_t failures = 0;
    std::string last_failure;
};

}

struct CertificateManager::Impl : std::enable_shared_from_this<Impl> {
    Impl(boost::asio::io_context& io, const Authority& a, milliseconds t, Publish p)
        : authority{a},
          ttl{std::max<std::chrono::seconds>(std::chrono::duration_cast<std::chrono::seconds>(t), 1s)},
          publish{std::move(p)},
          timer{io} {}

    base::Result<CredentialsPtr> issue(const state::Identity& identity) const;
    void installed(Entry& entry, CredentialsPtr fresh);
    bool is_due(const Entry& entry) const;
    bool renew(const state::Identity& identity, Entry& entry);
    void renew_what_is_due();
    void sleep();
    void publish_all() const;
    double random(double from, double to) { return std::uniform_real_distribution<>{from, to}(generator); }

    const Authority& authority;
    std::chrono::seconds ttl;
    Publish publish;
    std::map<state::Identity, Entry> entries;
    std::minstd_rand generator{std::random_device{}()};
    boost::asio::steady_timer timer;
};

base::Result<CredentialsPtr> CertificateManager::Impl::issue(const state::Identity& identity) const {
    auto pem = authority.issue(identity, ttl);
    if (!pem) return pem.error();
    return make_credentials(identity, *pem);
}

void CertificateManager::Impl::installed(Entry& entry, CredentialsPtr fresh) {
    auto now = system_clock::now();
    // Half of what is left, not of the whole validity: that one begins two minutes ago.
    auto half = std::max<system_clock::duration>((fresh->not_after - now) / 2, shortest_life);
    auto wait = std::chrono::duration_cast<milliseconds>(half * random(1, 1 + spread));
    entry.current = std::move(fresh);
    entry.renew_at = now + wait;
    entry.due = Steady::now() + wait;
    entry.next_retry = first_retry;
    entry.last_failure.clear();
}

bool CertificateManager::Impl::is_due(const Entry& entry) const {
    if (Steady::now() >= entry.due) return true;
    if (!entry.last_failure.empty()) return false;  // then the backoff decides
    auto now = system_clock::now();
    return now >= entry.renew_at || now < entry.current->not_before;
}

bool CertificateManager::Impl::renew(const state::Identity& identity, Entry& entry) {
    auto fresh = issue(identity);
    if (fresh) {
        installed(entry, std::move(*fresh));
        ++entry.renewals;
        base::log::debug("tls", "renewed the certificate of {}, good until {}", identity.to_string(),
                         to_text(entry.current->not_after));
        return true;
    }
    auto wait = std::chrono::duration_cast<milliseconds>(entry.next_retry * random(1 - retry_spread, 1 + retry_spread));
    entry.next_retry = std::min<Steady::duration>(2 * entry.next_retry, longest_retry);
    entry.due = Steady::now() + wait;
    ++entry.failures;
    entry.last_failure = fresh.error().to_string();
    bool expired = system_clock::now() >= entry.current->not_after;
    base::log::write(expired ? base::log::Level::error : base::log::Level::warn, "tls",
                     fmt::format("the certificate of {} was not renewed: {}; the one in use {} {}, next try in {} ms",
                                 identity.to_string(), entry.last_failure, expired ? "expired at" : "is good until",
                                 to_text(entry.current->not_after), wait.count()));
    return false;
}

void CertificateManager::Impl::renew_what_is_due() {
    bool changed = false;
    for (auto& [identity, entry] : entries)
        if (is_due(entry)) changed |= renew(identity, entry);
    if (changed) publish_all();
    sleep();
}

void CertificateManager::Impl::sleep() {
    if (entries.empty()) {
        timer.cancel();
        return;
    }
    auto wake = Steady::now() + longest_sleep;
    for (const auto& [identity, entry] : entries) wake = std::min<Steady::time_point>(wake, entry.due);
    timer.expires_at(wake);  // and forgets an earlier wait
    timer.async_wait([weak = weak_from_this()](boost::system::error_code cancelled) {
        if (cancelled) return;
        if (auto self = weak.lock()) self->renew_what_is_due();
    });
}

void CertificateManager::Impl::publish_all() const {
    auto map = std::make_shared<CredentialsMap>();
    for (const auto& [identity, entry] : entries) map->emplace_hint(map->end(), identity, entry.current);
    publish(std::move(map));
}

CertificateManager::CertificateManager(boost::asio::io_context& io, const Authority& authority, milliseconds ttl,
                                       Publish publish)
    : impl_{std::make_shared<Impl>(io, authority, ttl, std::move(publish))} {}
CertificateManager::~CertificateManager() = default;

base::Result<> CertificateManager::add(const state::Identity& identity) {
    if (auto known = impl_->entries.find(identity); known != impl_->entries.end()) {
        ++known->second.uses;
        return {};
    }
    auto fresh = impl_->issue(identity);
    if (!fresh)
        return base::problem("issue a certificate for " + identity.to_string() + ": " + fresh.error().to_string());
    impl_->installed(impl_->entries[identity], std::move(*fresh));
    impl_->publish_all();
    impl_->sleep();
    return {};
}

void CertificateManager::remove(const state::Identity& identity) {
    auto known = impl_->entries.find(identity);
    if (known == impl_->entries.end() || --known->second.uses > 0) return;
    impl_->entries.erase(known);
    impl_->publish_all();
    impl_->sleep();
}

std::vector<CertificateStats> CertificateManager::stats() const {
    std::vector<CertificateStats> all;
    for (const auto& [identity, entry] : impl_->entries)
        all.push_back({identity, entry.current->serial, entry.current->not_before, entry.current->not_after,
                       entry.renewals, entry.failures, entry.last_failure});
    return all;
}

}
