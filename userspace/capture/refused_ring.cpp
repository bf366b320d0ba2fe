// SPDX-License-Identifier: Apache-2.0
#include "refused_ring.hpp"

#include <bpf/libbpf.h>

#include <array>
#include <cstring>
#include <utility>

#include <culvert/base/log.hpp>
#include <culvert/base/result.hpp>

namespace culvert::capture {

namespace {

constexpr auto between_looks = std::chrono::milliseconds{250};
// More than there is room for: what comes while we read is read, too, but not for ever.
constexpr unsigned most_at_once = 2048;

constexpr std::array<std::string_view, CV_REASON_COUNT> names{{
#define X(name, text) #name,
    CV_REASONS(X)
#undef X
}};

base::SocketAddress to_address(const __u8 (&ip)[16], std::uint16_t port) {
    base::SocketAddress address{{}, port};
    std::memcpy(address.ip.bytes.data(), ip, sizeof ip);
    return address;
}

std::chrono::system_clock::time_point wall_time(std::uint64_t monotonic_ns) {
    auto ago = std::chrono::steady_clock::now().time_since_epoch() - std::chrono::nanoseconds{monotonic_ns};
    return std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(ago);
}

}

void RefusedRing::Free::operator()(ring_buffer* ring) const noexcept {
    ring_buffer__free(ring);
}

RefusedRing::RefusedRing(boost::asio::io_context& io, int events_map, Asks asks)
    : events_map_{events_map}, asks_{std::move(asks)}, four_times_a_second_{io} {}

RefusedRing::~RefusedRing() = default;

void RefusedRing::watch() {
    if (looks_ || !asks_.is_used()) return;
    if (!ring_) {
        ring_.reset(ring_buffer__new(events_map_, on_sample, this, nullptr));
        if (!ring_) {
            auto failed = base::errno_while("map cv_events into memory");
            base::log::error("capture", "{}: what the kernel refuses is counted, but has no lines", failed.to_string());
            return;
        }
        missed_ = asks_.missed();
    }
    looks_ = true;
    look_later();
}

void RefusedRing::look_later() {
    four_times_a_second_.expires_after(between_looks);
    four_times_a_second_.async_wait([this](boost::system::error_code cancelled) {
        if (cancelled) return;
        read();
        looks_ = asks_.is_used();
        if (looks_) look_later();
    });
}

void RefusedRing::read() {
    if (!ring_) return;
    read_ = 0;
    ring_buffer__consume(ring_.get());
    const auto missed = asks_.missed();
    const auto more = missed - std::exchange(missed_, missed);
    if (read_ == 0 && more == 0) return;
    for (RefusedReader* reader : readers_) {
        if (more > 0) reader->missed(more);
        reader->told();
    }
}

int RefusedRing::on_sample(void* self, void* data, std::size_t size) {
    auto& ring = *static_cast<RefusedRing*>(self);
    cv_event event;
    if (size < sizeof event) return 0;
    std::memcpy(&event, data, sizeof event);
    ring.tell(event);
    return ++ring.read_ < most_at_once ? 0 : -EAGAIN;
}

void RefusedRing::tell(const cv_event& event) {
    std::string uid = asks_.uid(event.netns_cookie);
    if (uid.empty() || event.reason >= CV_REASON_COUNT) return;
    const Refused refused{std::move(uid), to_address(event.source_ip, event.source_port),
                          to_address(event.destination_ip, event.destination_port), names[event.reason],
                          wall_time(event.at_ns)};
    for (RefusedReader* reader : readers_) reader->refused(refused);
}

}
