// SPDX-License-Identifier: Apache-2.0
// What the configuration says to each part of the node, in that part's own words.
#pragma once
#include <culvert/capture/capture.hpp>
#include <culvert/control/config.hpp>
#include <culvert/dns/server.hpp>
#include <culvert/proxy/worker.hpp>

namespace culvert::node {

unsigned worker_count(const control::Config& config);
capture::Mode capture_mode(const control::Config& config);
capture::Settings capture_settings(const control::Config& config, bool take_over);
proxy::Limits worker_limits(const control::Config& config);
dns::Settings dns_settings(const control::Config& config, capture::Capture& capture);

}
