// SPDX-License-Identifier: Apache-2.0
// What the metrics door shows of parts that telemetry does not know: one list of names, labels and sentences.
// What it shows of workers is in counters.hpp.
#pragma once
#include <string_view>

namespace culvert::telemetry {

enum class Kind { counter, gauge };

struct Family {
    std::string_view name;
    Kind kind;
    std::string_view label;  // the one label; empty: a single number
    std::string_view help;
};

// X(identifier, metric, kind, label, text)
#define CULVERT_METRIC_FAMILIES(X)                                                                                \
    X(capture_decisions, "culvert_capture_decisions_total", counter, "reason",                                    \
      "What the kernel programs decided, by reason.")                                                             \
    X(capture_repairs, "culvert_capture_repairs_total", counter, "part",                                          \
      "Parts of the capture that somebody had taken off or changed, and that were put right.")                    \
    X(capture_pods, "culvert_capture_pods", gauge, "", "Pods whose traffic is captured now.")                     \
    X(map_entries, "culvert_map_entries", gauge, "map", "Rows in use in a shared kernel map.")                    \
    X(map_max_entries, "culvert_map_max_entries", gauge, "map", "Rows that a shared kernel map can hold.")        \
    X(certificate_expiry, "culvert_certificate_expiry_timestamp_seconds", gauge, "identity",                      \
      "When the certificate that is in use for an identity expires, in Unix time.")                               \
    X(certificate_age, "culvert_certificate_age_seconds", gauge, "identity",                                      \
      "How long the certificate that is in use for an identity has been here.")                                   \
    X(certificate_states, "culvert_certificates", gauge, "state",                                                 \
      "Identities of this node by how it stands with their certificates.")                                        \
    X(certificate_renewals, "culvert_certificate_renewals_total", counter, "",                                    \
      "Certificates that were issued to this node, the first of an identity included.")                           \
    X(certificate_failures, "culvert_certificate_failures_total", counter, "",                                    \
      "Attempts to get a certificate that failed; they are repeated.")                                            \
    X(revoked, "culvert_revoked_certificates", gauge, "", "Entries of the revocation lists that are in force.")   \
    X(revocation_reloads, "culvert_revocation_reloads_total", counter, "result",                                  \
      "Times the revocation lists were read: good, or bad and the earlier ones stay in force.")                   \
    X(policy_hits, "culvert_policy_decisions_total", counter, "policy",                                           \
      "Inbound connections that a policy decided about, or would have, were it no dry run.")                      \
    X(xds_terminations, "istio_xds_connection_terminations_total", counter, "reason",                             \
      "Times a stream to istiod ended, by why it did.")                                                           \
    X(xds_messages, "istio_xds_message_total", counter, "url", "Responses of istiod, by their type.")             \
    X(xds_bytes, "istio_xds_message_bytes_total", counter, "url", "Bytes in responses of istiod, by their type.") \
    X(xds_refused, "culvert_xds_refused_resources_total", counter, "url",                                         \
      "Resources that could not be read and were answered with the reason, by their type.")                       \
    X(xds_connected, "culvert_xds_connected", gauge, "", "Whether a stream to istiod is answered: 1 or 0.")       \
    X(xds_age, "culvert_xds_state_age_seconds", gauge, "",                                                        \
      "How long nobody would have told us of a change; what istiod said last is in force meanwhile.")             \
    X(config_reloads, "culvert_config_reloads_total", counter, "result",                                          \
      "Times the configuration was read again: good, or bad and the earlier one stays in force.")

// By ztunnel's names, for the dashboards that ask for them, and what belongs to those. Traffic is in traffic.hpp.
#define CULVERT_ISTIO_FAMILIES(X)                                                                                    \
    X(traffic_series, "culvert_traffic_series", gauge, "", "Label sets of istio_tcp_ metrics that are held now.")    \
    X(traffic_expired, "culvert_traffic_series_expired_total", counter, "",                                          \
      "Label sets of istio_tcp_ metrics that nobody used any more, and that went.")                                  \
    X(traffic_overflowed, "culvert_traffic_overflowed_total", counter, "",                                           \
      "Connections whose istio_tcp_ metrics are in the series of all others, for want of room.")                     \
    X(proxies_active, "workload_manager_active_proxy_count", gauge, "", "Pods that are in the mesh now (unstable).") \
    X(proxies_pending, "workload_manager_pending_proxy_count", gauge, "",                                            \
      "Pods that wait to get into the mesh (unstable).")                                                             \
    X(proxies_started, "workload_manager_proxies_started_total", counter, "",                                        \
      "Times that a pod got into the mesh (unstable).")                                                              \
    X(proxies_stopped, "workload_manager_proxies_stopped_total", counter, "",                                        \
      "Times that a pod had left the mesh (unstable).")

namespace families {
#define X(identifier, metric, kind, label, text) inline constexpr Family identifier{metric, Kind::kind, label, text};
CULVERT_METRIC_FAMILIES(X)
CULVERT_ISTIO_FAMILIES(X)
#undef X
}

}
