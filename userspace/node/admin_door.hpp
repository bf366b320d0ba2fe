// SPDX-License-Identifier: Apache-2.0
// The door that ztunnel has on 15000, for the node's own people: istioctl comes through it by port-forward.
//
//   ANY  /                a page that says what there is
//   ANY  /config_dump     what this node knows (config_dump.hpp)
//   POST /logging         ?level=debug|info|warn|error|off, ?reset; without either: what it is
//   POST /quitquitquit    a drain, as SIGTERM
#pragma once
#include <functional>

#include "config_dump.hpp"

namespace culvert::node {

// `quit` is called at most once.
admin::FullRoutes admin_routes(const Dumped& dumped, std::function<void()> quit);

// POST /logging; `start` is the level that it goes back to.
admin::Answer logging(const admin::Query& query, base::log::Level start, base::log::Format format);

}
