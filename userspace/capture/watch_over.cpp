// SPDX-License-Identifier: Apache-2.0
// What EbpfCapture does while nothing happens: looks whether everything is still in place, and whose turn it is.
#include <bpf/bpf.h>

#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <chrono>

#include <culvert/base/log.hpp>

#include "ebpf.hpp"
#include "load_only.hpp"

namespace culvert::capture {

using namespace std::chrono_literals;
using base::Fd;

namespace {

constexpr auto between_checks = 500ms;
// A successor that has begun and takes no further pod for so long has failed.
constexpr auto patience = 5s;

// A worker takes a connection's row when it accepts: who has none by then has gone. Reads the whole table.
constexpr auto unclaimed_age = 60s;
constexpr unsigned checks_per_sweep = 20;

// Over all TCP sockets of the kernel, about 2 ms each: a hundred new pods must not hold up everything else.
constexpr unsigned walks_per_check = 10;

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
    if (++checks_ % checks_per_sweep == 0) flows_.free_unclaimed(unclaimed_age);
    repair_links();
    repair_pins();
    std::vector<std::string> deaf;
    for (auto& [uid, pod] : pods_) {
        switch (pod->check()) {
            case Pod::Health::fine: break;
            case Pod::Health::listeners_lost: deaf.push_back(uid); break;
            case Pod::Health::taken_over:  // by somebody who has no say on this node
                if (others_word()) return;
                if (pod->take_back()) repairs_.add(Part::row, pod->name());
                break;
        }
    }
    unsigned walks = 0;
    for (auto& [uid, pod] : pods_)
        if (walks < walks_per_check && pod->take_marks_off()) ++walks;
    if (walks > 0) give_up_what_loading_read();  // to attach the walk is to load
    for (const std::string& uid : deaf) {
        const Pod* pod = pods_.find(uid);
        if (refusing_ || !pod) continue;
        repairs_.add(Part::listener, pod->name());
        notices_.listeners_lost(uid);
    }
}

// What another daemon says in the row of cv_schema that the pins lead to. Before it has one there, all that is to be
// seen is that it has set ours aside.
std::optional<cv_schema> EbpfCapture::others_word() const {
    Fd schema = pinned(pins_.path("cv_schema"));
    std::uint32_t row = 0;
    cv_schema found{};
    if (schema && bpf_map_lookup_elem(schema.get(), &row, &found) == 0)
        return found.daemon != daemon_ ? std::optional{found} : std::nullopt;
    for (const std::string& old : pins_.olds())
        if (pinned(old + "/cv_schema")) return cv_schema{};
    return {};
}

bool EbpfCapture::others_turn() {
    auto found = others_word();
    if (!found) {
        other_.reset();
        return false;
    }
    if (found->settled) {
        superseded_ = true;
        base::log::info("capture", "another culvertd has taken over as instance \"{}\"", settings_.instance);
        notices_.superseded();
        return true;
    }
    auto now = std::chrono::steady_clock::now();
    std::size_t taken = pods_taken();
    if (!other_) base::log::info("capture", "another culvertd is taking over instance \"{}\"", settings_.instance);
    if (!other_ || taken != other_->pods) other_ = Other{now, taken};
    if (now - other_->moved < patience) return true;
    take_back();
    return false;
}

// How many of our pods no longer are: a successor writes its name into their rows, or deletes those of another schema.
std::size_t EbpfCapture::pods_taken() const {
    int rows = programs_->map("cv_pods");
    return static_cast<std::size_t>(std::count_if(pods_.begin(), pods_.end(), [&](const auto& pod) {
        auto row = find_row(rows, pod.second->cookie());
        return !row || row->daemon != daemon_;
    }));
}

void EbpfCapture::take_back() {
    other_.reset();
    if (auto said = say_who(true); !said) base::log::error("capture", "{}", said.error().to_string());
    for (auto& [uid, pod] : pods_)
        if (auto done = pod->take_back(); !done)
            base::log::error("capture", "{}: {}", pod->name(), done.error().to_string());
    base::log::warn("capture", "the culvertd that was taking over has not finished: its pods were taken back");
}

// Of a cluster's daemon this is said again whenever the agent has named all pods: also while a successor takes them.
void EbpfCapture::settled() {
    only_begun_ = false;
    if (others_word()) return;
    if (auto said = say_who(true); !said) base::log::error("capture", "{}", said.error().to_string());
    give_up_what_loading_read();
}

void EbpfCapture::give_up_what_loading_read() {
    unmap_what_loading_read(Programs::object());
    // What every check needs of it comes again now, not in a moment.
    (void)others_word();
    (void)runs(sockops_.get(), programs_->program("cv_sockops"));
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
