// SPDX-License-Identifier: Apache-2.0
// A handshake with ourselves, in memory: what the first connection would else have to bring into memory is there.
#pragma once
#include <culvert/base/result.hpp>
#include <culvert/tls/credentials.hpp>

namespace culvert::tls {

// Both ends with the same credentials, a record each way, and the end. Fails as a peer of ours would.
base::Result<> rehearse(const CredentialsPtr& own);

}
