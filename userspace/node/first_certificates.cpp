// SPDX-License-Identifier: Apache-2.0
#include "first_certificates.hpp"

#include <utility>

#include <culvert/base/log.hpp>

namespace culvert::node {

namespace {

constexpr std::chrono::milliseconds between_looks{100};

// Some three seconds of refusals. A pod whose certificate the CA refuses, while it gives others, is not to hold up a
// node's upgrade: the other daemon will not get it renewed either.
constexpr std::uint64_t refusals = 3;

}

FirstCertificates::FirstCertificates(boost::asio::io_context& io, tls::CertificateManager& certificates,
                                     std::set<state::Identity> identities, std::function<bool()> others_have_the_pods,
                                     std::function<void()> go)
    : certificates_{certificates},
      identities_{std::move(identities)},
      others_have_the_pods_{std::move(others_have_the_pods)},
      go_{std::move(go)},
      timer_{io} {
    for (const auto& identity : identities_) certificates_.add(identity);
    look_soon();
}

FirstCertificates::~FirstCertificates() {
    for (const auto& identity : identities_) certificates_.remove(identity);
}

void FirstCertificates::look_soon() {
    timer_.expires_after(between_looks);
    timer_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled) look();
    });
}

void FirstCertificates::look() {
    std::size_t missing = 0;
    std::size_t refused = 0;
    std::string why;
    for (const auto& one : certificates_.stats()) {
        if (one.state == "Available" || !identities_.contains(one.identity)) continue;
        ++missing;
        if (one.failures >= refusals) ++refused;
        if (why.empty()) why = one.last_failure;
    }
    const bool gives = missing < identities_.size();
    if (missing == 0 || (gives && refused == missing) || !others_have_the_pods_()) return std::exchange(go_, nullptr)();
    if (!why.empty()) say(missing, why);
    look_soon();
}

void FirstCertificates::say(std::size_t missing, const std::string& why) {
    if (std::exchange(said_, true)) return;
    base::log::warn(
        "node", "the pods are not taken over yet: {} of the {} identities that they have are without a certificate: {}",
        missing, identities_.size(), why);
}

}
