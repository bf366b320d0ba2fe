// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/certificates.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <map>
#include <random>

#include <culvert/base/log.hpp>

#include "openssl.hpp"
#include "schedule.hpp"

namespace culvert::tls {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr auto longest_sleep = 1s;  // the wall clock may have jumped: look at it this often

struct Entry {
    std::size_t uses = 1;
    CredentialsPtr current;
    Steady::time_point since;  // that we have it
    std::string chain, roots;  // PEM
    std::uint64_t issued = 0;
    std::uint64_t failures = 0;
    std::string last_failure;

    bool is_good(SystemTime now) const { return current && now < current->not_after; }
    std::string state(SystemTime now) const {
        if (is_good(now)) return "Available";
        return last_failure.empty() ? "Initializing" : "Unavailable: " + last_failure;
    }
};

base::Result<CredentialsPtr> accept(const state::Identity& asked, const Pem& pem) {
    auto made = make_credentials(asked, pem);
    if (!made) return made;
    const X509* leaf = SSL_CTX_get0_certificate((*made)->client.get());
    auto names = uri_names(*leaf);
    if (names.empty() || names.front() != asked.to_string())
        return base::problem("the certificate is for " + (names.empty() ? "no URI" : names.front()) +
                             ", it was asked for " + asked.to_string());
    if (std::chrono::system_clock::now() >= (*made)->not_after)
        return base::problem("the certificate that came expired at " + to_text((*made)->not_after) +
                             "; is this node's clock right?");
    return made;
}

std::vector<CertificateText> texts(const std::string& pem) {
    std::vector<CertificateText> all;
    for (const Certificate& each : read_certificates_leniently(pem))
        if (auto text = to_pem(*each))
            all.push_back({std::move(*text), decimal(X509_get0_serialNumber(each.get())),
                           to_seconds(X509_get0_notBefore(each.get())), to_seconds(X509_get0_notAfter(each.get()))});
    return all;
}

}

struct CertificateManager::Impl : std::enable_shared_from_this<Impl> {
    Impl(boost::asio::io_context& io, Issuer& i, milliseconds t, Publish p)
        : issuer{i},
          ttl{std::max<std::chrono::seconds>(std::chrono::duration_cast<std::chrono::seconds>(t), 1s)},
          publish{std::move(p)},
          timer{io} {}

    void go_on();
    void ask(const Schedule::Ticket& ticket);
    void answered(const Schedule::Ticket& ticket, base::Result<Pem> answer);
    void take_in(const state::Identity& identity, Entry& entry, CredentialsPtr fresh, Pem pem);
    void note_failure(const state::Identity& identity, Entry& entry, const base::Error& why);
    void sleep();
    void publish_all() const;

    Issuer& issuer;
    std::chrono::seconds ttl;
    Publish publish;
    std::map<state::Identity, Entry> entries;
    Schedule schedule{std::random_device{}()};
    CertificateTotals totals;
    bool going_on = false;
    bool changed = false;
    boost::asio::steady_timer timer;
};

// After every change. An issuer may answer inside its call: what comes of it is published once.
void CertificateManager::Impl::go_on() {
    if (std::exchange(going_on, true)) return;
    while (auto ticket = schedule.take(Now::read())) ask(*ticket);
    going_on = false;
    if (std::exchange(changed, false)) publish_all();
    sleep();
}

void CertificateManager::Impl::ask(const Schedule::Ticket& ticket) {
    issuer.issue(ticket.identity, ttl, [weak = weak_from_this(), ticket](base::Result<Pem> answer) {
        if (auto self = weak.lock()) self->answered(ticket, std::move(answer));
    });
}

void CertificateManager::Impl::answered(const Schedule::Ticket& ticket, base::Result<Pem> answer) {
    if (schedule.answered(ticket)) {
        changed = true;
        Entry& entry = entries.at(ticket.identity);
        auto fresh = answer ? accept(ticket.identity, *answer) : answer.error();
        if (fresh)
            take_in(ticket.identity, entry, std::move(*fresh), std::move(*answer));
        else
            note_failure(ticket.identity, entry, fresh.error());
    }
    go_on();
}

void CertificateManager::Impl::take_in(const state::Identity& identity, Entry& entry, CredentialsPtr fresh, Pem pem) {
    const auto now = Now::read();
    schedule.issued(identity, now, *fresh);
    entry.current = std::move(fresh);
    entry.since = now.steady;
    entry.chain = std::move(pem.chain);
    entry.roots = std::move(pem.roots);
    if (!entry.last_failure.empty())
        base::log::info("tls", "{} has a certificate {}, good until {}", identity.to_string(),
                        entry.issued == 0 ? "now" : "again", to_text(entry.current->not_after));
    else if (entry.issued != 0)
        base::log::debug("tls", "renewed the certificate of {}, good until {}", identity.to_string(),
                         to_text(entry.current->not_after));
    entry.last_failure.clear();
    ++entry.issued;
    ++totals.issued;
}

void CertificateManager::Impl::note_failure(const state::Identity& identity, Entry& entry, const base::Error& why) {
    const auto now = Now::read();
    const auto end = entry.current ? std::optional{entry.current->not_after} : std::nullopt;
    const auto wait = std::chrono::duration_cast<milliseconds>(schedule.failed(identity, now, end)).count();
    ++entry.failures;
    ++totals.failed;
    const bool said = entry.last_failure == why.to_string();
    entry.last_failure = why.to_string();
    using base::log::Level;
    const Level level = said ? Level::debug : entry.is_good(now.wall) ? Level::warn : Level::error;
    if (!entry.current)
        base::log::write(level, "tls",
                         fmt::format("no certificate for {} yet: {}; next try in {} ms", identity.to_string(),
                                     entry.last_failure, wait));
    else
        base::log::write(level, "tls",
                         fmt::format("the certificate of {} was not renewed: {}; the one in use {} {}, next try in "
                                     "{} ms",
                                     identity.to_string(), entry.last_failure,
                                     entry.is_good(now.wall) ? "is good until" : "expired at", to_text(*end), wait));
}

void CertificateManager::Impl::sleep() {
    if (entries.empty()) {
        timer.cancel();
        return;
    }
    const auto now = Now::read();
    auto wake = now.steady + longest_sleep;
    if (auto next = schedule.next(now)) wake = std::min(wake, *next);
    timer.expires_at(wake);  // and forgets an earlier wait
    timer.async_wait([weak = weak_from_this()](boost::system::error_code cancelled) {
        if (cancelled) return;
        if (auto self = weak.lock()) self->go_on();
    });
}

void CertificateManager::Impl::publish_all() const {
    auto map = std::make_shared<CredentialsMap>();
    for (const auto& [identity, entry] : entries) {
        Standing standing{entry.current, entry.last_failure, {}};
        if (!entry.last_failure.empty()) standing.next_try = schedule.next_try(identity);
        map->emplace_hint(map->end(), identity, std::move(standing));
    }
    publish(std::move(map));
}

CertificateManager::CertificateManager(boost::asio::io_context& io, Issuer& issuer, milliseconds ttl, Publish publish)
    : impl_{std::make_shared<Impl>(io, issuer, ttl, std::move(publish))} {}
CertificateManager::~CertificateManager() = default;

void CertificateManager::add(const state::Identity& identity) {
    auto [entry, is_new] = impl_->entries.try_emplace(identity);
    if (!is_new) {
        ++entry->second.uses;
        return;
    }
    impl_->schedule.add(identity, Now::read());
    impl_->changed = true;
    impl_->go_on();
}

void CertificateManager::remove(const state::Identity& identity) {
    auto known = impl_->entries.find(identity);
    if (known == impl_->entries.end() || --known->second.uses > 0) return;
    const state::Identity gone = known->first;  // the caller's may be ours
    impl_->entries.erase(known);
    impl_->schedule.remove(gone);
    impl_->changed = true;
    impl_->go_on();
}

void CertificateManager::hurry(const state::Identity& identity) {
    auto known = impl_->entries.find(identity);
    if (known == impl_->entries.end() || known->second.is_good(std::chrono::system_clock::now())) return;
    impl_->schedule.raise(identity, Now::read());
    impl_->go_on();
}

void CertificateManager::renew_all(milliseconds within) {
    impl_->schedule.renew_all(Now::read(), within);
    impl_->go_on();
}

std::vector<CertificateStats> CertificateManager::stats() const {
    std::vector<CertificateStats> all;
    const auto now = Now::read();
    for (const auto& [identity, entry] : impl_->entries) {
        CertificateStats stats{.identity = identity, .state = entry.state(now.wall)};
        if (entry.current) {
            stats.serial = entry.current->serial;
            stats.not_before = entry.current->not_before;
            stats.not_after = entry.current->not_after;
            stats.age = now.steady - entry.since;
            stats.renewals = entry.issued - 1;
        }
        stats.failures = entry.failures;
        stats.last_failure = entry.last_failure;
        all.push_back(std::move(stats));
    }
    return all;
}

CertificateTotals CertificateManager::totals() const {
    CertificateTotals totals = impl_->totals;
    totals.under_way = impl_->schedule.under_way();
    return totals;
}

std::vector<CertificateDump> CertificateManager::dump() const {
    std::vector<CertificateDump> all;
    const auto now = std::chrono::system_clock::now();
    for (const auto& [identity, entry] : impl_->entries)
        all.push_back({identity, entry.state(now), entry.last_failure, texts(entry.chain), texts(entry.roots)});
    return all;
}

}
