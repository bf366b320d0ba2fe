// SPDX-License-Identifier: Apache-2.0
#include "own_certificates.hpp"

#include <algorithm>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <culvert/base/over_limit.hpp>

namespace culvert::proxy {

// Counts who waits for an identity, while it waits.
class OwnCertificates::Waiting {
public:
    Waiting(OwnCertificates& house, const state::Identity& identity) : house_{house} {
        place_ = house.waited_for_.try_emplace(identity, 0).first;
        first_ = place_->second++ == 0;
        house.counters_.certificate_waits.add();
        house.counters_.certificate_waiting.add();
    }
    ~Waiting() {
        house_.counters_.certificate_waiting.sub();
        if (--place_->second == 0) house_.waited_for_.erase(place_);
    }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    bool is_first() const noexcept { return first_; }

private:
    OwnCertificates& house_;
    std::map<state::Identity, std::uint32_t>::iterator place_;
    bool first_;
};

const tls::Standing* OwnCertificates::standing(const state::Identity& identity) const {
    if (!known_) return nullptr;
    auto found = known_->find(identity);
    return found == known_->end() ? nullptr : &found->second;
}

tls::CredentialsPtr OwnCertificates::find(const state::Identity& identity) const {
    const auto* found = standing(identity);
    return found ? found->good() : nullptr;
}

bool OwnCertificates::may_come(const state::Identity& identity, Clock::time_point before) const {
    const auto* found = standing(identity);
    return found && (found->failure.empty() || found->next_try < before);
}

std::string OwnCertificates::why_none(const state::Identity& identity) const {
    const auto* found = standing(identity);
    if (!found) return fmt::format("identity error: no pod here is {}", identity.to_string());
    std::string text =
        found->current
            ? fmt::format("identity error: the certificate of {} expired at {:%F %T} UTC", identity.to_string(),
                          fmt::gmtime(std::chrono::system_clock::to_time_t(found->current->not_after)))
            : fmt::format("identity error: no certificate for {} yet", identity.to_string());
    if (found->failure.empty()) return text + ": the CA has not answered";
    const auto wait = std::chrono::duration_cast<std::chrono::seconds>(found->next_try - Clock::now());
    if (wait.count() <= 0) return text + ": " + found->failure;
    return text + fmt::format(": {}; the next try is in {} s", found->failure, wait.count());
}

void OwnCertificates::publish(tls::CredentialsMapPtr known) {
    known_ = std::move(known);
    for (Waiter& each : waiters_)
        if (find(each.identity) || !may_come(each.identity, each.until)) each.woken.set();
}

base::Task<base::Result<tls::CredentialsPtr>> OwnCertificates::wait(state::Identity identity) {
    const auto until = Clock::now() + limits_.connect;
    if (!may_come(identity, until)) co_return base::problem(why_none(identity));
    if (counters_.certificate_waiting.get() >= limits_.waiting_for_certificate_per_worker)
        co_return base::over_limit("connections that wait for a certificate");
    Waiting counted{*this, identity};
    if (counted.is_first() && need_) need_(identity);
    Waiter waiter{loop_, identity, until};
    waiters_.push_back(waiter);
    base::Timer late{loop_, [&waiter] { waiter.woken.set(); }};
    late.arm(limits_.connect);
    co_await waiter.woken;
    if (auto good = find(identity)) co_return good;
    co_return base::problem(why_none(identity));
}

}
