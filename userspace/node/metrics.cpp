// SPDX-License-Identifier: Apache-2.0
#include "metrics.hpp"

#include <chrono>

namespace culvert::node {

using telemetry::Sample;
namespace families = telemetry::families;

namespace {

void add_certificates(telemetry::Metrics& metrics, const tls::CertificateManager& certificates) {
    // Of those that are there.
    auto each = [&certificates](double (*value)(const tls::CertificateStats&)) {
        return [&certificates, value] {
            std::vector<Sample> samples;
            for (const auto& certificate : certificates.stats())
                if (!certificate.serial.empty())
                    samples.push_back({certificate.identity.to_string(), value(certificate)});
            return samples;
        };
    };
    metrics.add(families::certificate_expiry, each([](const tls::CertificateStats& certificate) {
                    return std::chrono::duration<double>(certificate.not_after.time_since_epoch()).count();
                }));
    metrics.add(families::certificate_age, each([](const tls::CertificateStats& certificate) {
                    return std::chrono::duration<double>(certificate.age).count();
                }));
    metrics.add(families::certificate_states, [&certificates] {
        double initializing = 0, available = 0, unavailable = 0;
        for (const auto& certificate : certificates.stats())
            ++(certificate.state == "Available"      ? available
               : certificate.state == "Initializing" ? initializing
                                                     : unavailable);
        return std::vector<Sample>{
            {"initializing", initializing}, {"available", available}, {"unavailable", unavailable}};
    });
    metrics.add(families::certificate_renewals,
                [&certificates] { return static_cast<double>(certificates.totals().issued); });
    metrics.add(families::certificate_failures,
                [&certificates] { return static_cast<double>(certificates.totals().failed); });
}

}

void expose(telemetry::Metrics& metrics, capture::Capture& capture, const tls::CertificateManager& certificates,
            const telemetry::AccessLog& access_log, const Workers& workers, const Pods& pods, const Reloads& reloads,
            policy::Ledger& policy_hits) {
    std::vector<const telemetry::WorkerCounters*> counters;
    for (const auto& worker : workers) counters.push_back(&worker->counters());
    metrics.add(std::move(counters));
    metrics.add(access_log);
    metrics.add(families::capture_decisions, [&capture] {
        std::vector<Sample> samples;
        for (const auto& reason : capture.reasons())
            samples.push_back({reason.name, static_cast<double>(reason.count)});
        return samples;
    });
    metrics.add(families::capture_repairs, [&capture] {
        std::vector<Sample> samples;
        for (const auto& repair : capture.repairs())
            samples.push_back({repair.what, static_cast<double>(repair.count)});
        return samples;
    });
    metrics.add([&pods](std::vector<prometheus::MetricFamily>& into) {
        into.push_back({"culvert_capture_enrolment_seconds",
                        "How long enrolling a pod took, listeners and programs.",
                        prometheus::MetricType::Histogram,
                        {pods.enrolment_seconds().Collect()}});
    });
    metrics.add(families::capture_pods, [&pods] { return static_cast<double>(pods.size()); });
    auto fills = [&capture](std::uint64_t capture::MapFill::*field) {
        return [&capture, field] {
            std::vector<Sample> samples;
            for (const auto& map : capture.fills()) samples.push_back({map.name, static_cast<double>(map.*field)});
            return samples;
        };
    };
    metrics.add(families::map_entries, fills(&capture::MapFill::used));
    metrics.add(families::map_max_entries, fills(&capture::MapFill::size));
    add_certificates(metrics, certificates);
    metrics.add(families::policy_hits, [&policy_hits] {
        std::vector<Sample> samples;
        for (const auto& [policy, count] : policy_hits.counts())
            if (count != 0) samples.push_back({policy, static_cast<double>(count)});
        return samples;
    });
    metrics.add(families::config_reloads, [&reloads] {
        return std::vector<Sample>{{"good", static_cast<double>(reloads.applied)},
                                   {"bad", static_cast<double>(reloads.refused)}};
    });
}

}
