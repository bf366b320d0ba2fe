// SPDX-License-Identifier: Apache-2.0
#include <culvert/admin/doors.hpp>
#include <culvert/telemetry/metrics.hpp>

#include "gzip.hpp"

namespace culvert::admin {

FullRoutes metrics_routes(const telemetry::Metrics& metrics, Refresh refresh) {
    if (!refresh) refresh = [](const std::function<void()>& done) { done(); };
    auto answer = [&metrics, refresh](const Asked& asked, const Reply& reply) {
        const bool open_metrics = asked.accept.find("application/openmetrics-text") != std::string::npos;
        const bool small = takes_gzip(asked.accept_encoding);
        refresh([&metrics, reply, open_metrics, small] {
            Answer page{200, "text/plain; version=0.0.4; charset=utf-8", ""};
            if (open_metrics) page.content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            page.body = metrics.text(open_metrics ? telemetry::Dialect::open_metrics : telemetry::Dialect::prometheus);
            if (small) gzip(page);
            reply(std::move(page));
        });
    };
    const Route route{Route::Methods::any, answer};
    return {{"/metrics", route}, {"/stats/prometheus", route}};
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
