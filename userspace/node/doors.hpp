// SPDX-License-Identifier: Apache-2.0
// The node's doors: metrics, ready, admin, and the control socket.
//
// Lives on: the control thread. Owns: the doors, and a timer.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <culvert/admin/doors.hpp>
#include <culvert/control/config.hpp>

namespace culvert::node {

class Doors {
public:
    // Each is called when its door opens.
    struct Behind {
        std::function<admin::FullRoutes()> metrics;
        std::function<admin::Routes()> ready;
        std::function<admin::FullRoutes()> admin;
        std::function<admin::AskedRoutes()> control;
    };
    // `patient`: what cannot be opened is tried again, more and more seldom, for a daemon that this one replaces closes
    // its own once it hears that we are settled.
    Doors(boost::asio::io_context& io, const control::Config& config, bool patient, Behind behind);

    // Those that are not open yet; the control socket shows what is not there before the mesh is known. Fails where one
    // cannot be opened, unless patient.
    base::Result<> open(bool control_too);
    // The other daemon has heard: now, and then as often as at first.
    void open_soon();
    // For good.
    void close();

private:
    base::Result<> open_now();
    template <class MakeRoutes>
    base::Result<> open_one(const char* name, const std::optional<base::SocketAddress>& address,
                            const MakeRoutes& make);
    base::Result<> open_control();

    boost::asio::io_context& io_;
    const control::DoorSettings settings_;
    const std::string instance_;
    const bool patient_;
    const Behind behind_;
    boost::asio::steady_timer again_;
    std::chrono::milliseconds pause_;
    std::string said_;  // why they are not all open
    std::map<std::string, std::unique_ptr<admin::Door>> doors_;
    bool control_too_ = false;
    bool closed_ = false;
};

}
