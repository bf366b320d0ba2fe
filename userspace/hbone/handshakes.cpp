// SPDX-License-Identifier: Apache-2.0
#include <culvert/hbone/handshakes.hpp>

namespace culvert::hbone {

bool Handshakes::enter(Guest& guest, const base::IpAddress& source) {
    if (sources_.of(source) >= most_of_one_) return false;
    sources_.add(source);
    guest.house_ = this;
    guest.source_ = source;
    all_.push_back(guest);
    if (all_.size() > most_) all_.front().put_out();
    return true;
}

void Handshakes::leave(Guest& guest) noexcept {
    all_.erase(all_.iterator_to(guest));
    sources_.remove(guest.source_);
}

void Handshakes::Guest::leave() noexcept {
    if (Handshakes* house = std::exchange(house_, nullptr)) house->leave(*this);
}

}
