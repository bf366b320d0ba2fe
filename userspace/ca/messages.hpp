// SPDX-License-Identifier: Apache-2.0
// CreateCertificate in bytes, and its failures in words.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/grpc/status.hpp>
#include <culvert/grpc/target.hpp>
#include <culvert/state/identity.hpp>

namespace culvert::ca {

inline constexpr const char* create_certificate = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

// `impersonated`: whom we ask for in their place; null: for ourselves.
std::string request_bytes(const std::string& csr, std::chrono::seconds lifetime, const state::Identity* impersonated);
base::Result<std::vector<std::string>> chain_of(const std::string& response);

// What went wrong, and what to look at.
base::Error failure(const grpc::Status& status, const grpc::Target& ca, const state::Identity& identity);

}
