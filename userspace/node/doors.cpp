// SPDX-License-Identifier: Apache-2.0
#include "doors.hpp"

#include <algorithm>
#include <utility>

#include <culvert/admin/control_socket.hpp>
#include <culvert/base/log.hpp>

namespace culvert::node {
namespace {

// Between tries to open what somebody else has; doubled from one to the next.
constexpr std::chrono::milliseconds first_pause{100};
constexpr std::chrono::milliseconds longest_pause{10'000};

}

Doors::Doors(boost::asio::io_context& io, const control::Config& config, bool patient, Behind behind)
    : io_{io},
      settings_{config.doors},
      instance_{config.node.name},
      patient_{patient},
      behind_{std::move(behind)},
      again_{io},
      pause_{first_pause} {}

base::Result<> Doors::open(bool control_too) {
    if (closed_) return {};
    control_too_ = control_too_ || control_too;
    auto opened = open_now();
    if (opened || !patient_) return opened;
    std::string why = opened.error().to_string();
    if (std::exchange(said_, why) != why) base::log::info("node", "trying until it works: {}", why);
    base::log::debug("node", "doors: the next try comes in {} ms", pause_.count());
    again_.expires_after(pause_);
    pause_ = std::min(2 * pause_, longest_pause);
    again_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled) (void)open(false);
    });
    return {};
}

void Doors::open_soon() {
    pause_ = first_pause;
    if (patient_) (void)open(false);
}

void Doors::close() {
    closed_ = true;
    doors_.clear();
    again_.cancel();
}

base::Result<> Doors::open_now() {
    if (auto metrics = open_one("metrics", settings_.metrics, behind_.metrics); !metrics) return metrics;
    if (auto ready = open_one("ready", settings_.ready, behind_.ready); !ready) return ready;
    if (auto admin = open_one("admin", settings_.admin, behind_.admin); !admin) return admin;
    return control_too_ ? open_control() : base::Result<>{};
}

template <class MakeRoutes>
base::Result<> Doors::open_one(const char* name, const std::optional<base::SocketAddress>& address,
                               const MakeRoutes& make) {
    if (!address || doors_.contains(name)) return {};
    auto door = admin::Door::open(io_, *address, make());
    if (!door) return door.error();
    doors_[name] = std::move(*door);
    return {};
}

// Nobody asked for the usual one: without it the node works all the same.
base::Result<> Doors::open_control() {
    auto path = settings_.control.value_or(admin::control_socket(instance_));
    if (path.empty() || doors_.contains("control")) return {};
    auto door = admin::Door::open_local(io_, path, behind_.control());
    if (door)
        doors_["control"] = std::move(*door);
    else if (settings_.control || patient_)
        return door.error();
    else
        base::log::warn("node", "no culvertctl: {}", door.error().to_string());
    return {};
}

}
