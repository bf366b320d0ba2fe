// SPDX-License-Identifier: Apache-2.0
// What EbpfCapture does while nothing happens: looks whether everything is still in place, and whose turn it is.
#include <bpf/bpf.h>

#include <boost/asio/io_context.hpp>

#include <chrono>

#include <culvert/base/log.hpp>

#include "ebpf.hpp"

namespace culvert::capture {

using namespace std::chrono_literals;
using base::Fd;

namespace {

constexpr auto between_checks = 500ms;
// A successor that has begun and says nothing for so long has failed.
constexpr auto patience = 30s;

}

void EbpfCapture::check_later() {
    twice_a_second_.expires_after(between_checks);
    twice_a_second_.async_wait([this](boost::system::error_code cancelled) {
        if (cancelled) return;
        check();
        check_later();
    });
}

void EbpfCapture::check() {
    if (superseded_ || others_turn()) return;
    repair_links();
    repair_pins();
    std::vector<std::string> deaf;
    for (auto& [uid, pod] : pods_) {
        switch (pod->check()) {
            case Pod::Health::fine: break;
            case Pod::Health::listeners_lost: deaf.push_back(uid); break;
            case Pod::Health::taken_over: break;  // a successor is at work; the next look sees its name
        }
    }
    for (const std::string& uid : deaf) {
        if (refusing_ || !pods_.contains(uid)) continue;
        repairs_.add(Part::listener, pods_.at(uid)->name());
        notices_.listeners_lost(uid);
    }
}

// The row of cv_schema that the pins lead to: ours, or that of a daemon which set ours aside.
bool EbpfCapture::others_turn() {
    Fd schema = pinned(pins_.path("cv_schema"));
    std::uint32_t row = 0;
    cv_schema found{};
    if (!schema || bpf_map_lookup_elem(schema.get(), &row, &found) != 0) return false;
    if (found.daemon == daemon_ || found.daemon == 0) {
        other_since_.reset();
        return false;
    }
    auto now = std::chrono::steady_clock::now();
    if (found.settled) {
        superseded_ = true;
        base::log::info("capture", "another culvertd has taken over as instance \"{}\"", settings_.instance);
        notices_.superseded();
        return true;
    }
    if (!other_since_) {
        other_since_ = now;
        base::log::info("capture", "another culvertd is taking over instance \"{}\"", settings_.instance);
    }
    if (now - *other_since_ < patience) return true;
    take_back();
    return false;
}

void EbpfCapture::take_back() {
    base::log::warn("capture", "the culvertd that was taking over has not finished: taking back");
    other_since_.reset();
    if (auto said = say_who(true); !said) base::log::error("capture", "{}", said.error().to_string());
    for (auto& [uid, pod] : pods_)
        if (auto done = pod->take_back(); !done)
            base::log::error("capture", "{}: {}", pod->name(), done.error().to_string());
}

void EbpfCapture::settled() {
    if (auto said = say_who(true); !said) base::log::error("capture", "{}", said.error().to_string());
}

void EbpfCapture::repair_links() {
    if (!runs(sockops_.get(), programs_->program("cv_sockops"))) {
        auto done = attach();
        if (refusing_) alive_.reset();
        if (done)
            repairs_.add(Part::sockops, settings_.instance);
        else
            base::log::error("capture", "{}", done.error().to_string());
    } else if (!refusing_ && !is_attached(alive_.get())) {
        if (attach_alive()) repairs_.add(Part::alive, settings_.instance);
    }
}

void EbpfCapture::repair_pins() {
    pins_.restore();
    unsigned restored = restore_pin(sockops_.get(), pins_.path("sockops")) ? 1 : 0;
    programs_->each_shared_map([&](const char* name, int fd) {
        if (restore_pin(fd, pins_.path(name))) ++restored;
    });
    if (restored > 0) repairs_.add(Part::pin, settings_.instance, restored);
}

}
