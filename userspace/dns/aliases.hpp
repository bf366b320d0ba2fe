// SPDX-License-Identifier: Apache-2.0
// The names that one name may stand for, as a client in a namespace would complete it, in the order to try them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace culvert::dns {

struct Alias {
    std::string name;
    // Found by leaving a search domain off: so many labels of the question are left. 0: it was not.
    unsigned stripped_to = 0;
    friend bool operator==(const Alias&, const Alias&) = default;
};

// All in lower case, without a dot at the end.
std::vector<Alias> aliases_of(std::string_view name, std::string_view client_namespace, std::string_view domain);

}
