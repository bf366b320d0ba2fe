// SPDX-License-Identifier: Apache-2.0
#include <culvert/admin/doors.hpp>
#include <culvert/telemetry/metrics.hpp>

namespace culvert::admin {

Routes metrics_routes(const telemetry::Metrics& metrics) {
    auto answer = [&metrics] { return Answer{200, "text/plain; version=0.0.4; charset=utf-8", metrics.text()}; };
    return {{"/metrics", answer}, {"/stats/prometheus", answer}};
}

Routes readiness_routes(const Readiness& readiness) {
    auto answer = [&readiness] {
        // Looked at once: between two looks a part may become ready.
        auto text = readiness.text();
        return Answer{text == "ready\n" ? 200u : 500u, "text/plain; charset=utf-8", text};
    };
    return {{"/healthz/ready", answer}};
}

}
