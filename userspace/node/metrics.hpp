// SPDX-License-Identifier: Apache-2.0
// What the metrics door shows: every counter of every component, under the names of docs/DEBUGGING.md.
#pragma once
#include <chrono>

#include <culvert/capture/capture.hpp>
#include <culvert/policy/hits.hpp>
#include <culvert/telemetry/metrics.hpp>
#include <culvert/tls/certificates.hpp>

#include "pods.hpp"

namespace culvert::node {

struct Reloads {
    std::uint64_t applied = 0;
    std::uint64_t refused = 0;
    std::chrono::system_clock::time_point last = std::chrono::system_clock::now();  // the start counts as one
    std::string error;  // of the last one; empty: it was good
};

// Registers the sources; everything is borrowed and read on the control thread.
void expose(telemetry::Metrics& metrics, capture::Capture& capture, const tls::CertificateManager& certificates,
            const telemetry::AccessLog& access_log, const Workers& workers, const Pods& pods, const Reloads& reloads,
            policy::Ledger& policy_hits);

}
