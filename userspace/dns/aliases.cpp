// SPDX-License-Identifier: Apache-2.0
#include "aliases.hpp"

#include <algorithm>

namespace culvert::dns {
namespace {

unsigned labels_of(std::string_view name) {
    return static_cast<unsigned>(1 + std::count(name.begin(), name.end(), '.'));
}

class Collector {
public:
    Collector(std::string_view client_namespace, std::string_view domain)
        : domain_{domain},
          service_domain_{"svc." + domain_},
          own_domain_{std::string{client_namespace} + "." + service_domain_} {}

    std::vector<Alias> collect(std::string_view name) {
        add(name, {}, 0);
        complete(name, 0);
        for (const std::string& search : {own_domain_, service_domain_, domain_}) {
            if (name.size() <= search.size() + 1 || !name.ends_with(search)) continue;
            std::string_view rest = name.substr(0, name.size() - search.size());
            if (rest.back() != '.') continue;
            rest.remove_suffix(1);
            unsigned labels = labels_of(rest);
            add(rest, {}, labels);
            complete(rest, labels);
        }
        return std::move(aliases_);
    }

private:
    void add(std::string_view name, std::string_view domain, unsigned stripped_to) {
        std::string whole{name};
        if (!domain.empty()) whole.append(".").append(domain);
        auto is_it = [&](const Alias& known) { return known.name == whole; };
        if (std::ranges::none_of(aliases_, is_it)) aliases_.push_back({std::move(whole), stripped_to});
    }

    // service, service.ns, service.ns.svc; the same for pods: pod.service, pod.service.ns, pod.service.ns.svc.
    void complete(std::string_view name, unsigned stripped_to) {
        const bool ends_svc = name.ends_with(".svc");
        switch (labels_of(name)) {
            case 1: add(name, own_domain_, stripped_to); break;
            case 2:
                add(name, service_domain_, stripped_to);
                add(name, own_domain_, stripped_to);
                break;
            case 3:
                if (ends_svc) add(name, domain_, stripped_to);
                add(name, service_domain_, stripped_to);
                break;
            case 4:
                if (ends_svc) add(name, domain_, stripped_to);
                break;
            default: break;
        }
    }

    std::string domain_, service_domain_, own_domain_;
    std::vector<Alias> aliases_;
};

}

std::vector<Alias> aliases_of(std::string_view name, std::string_view client_namespace, std::string_view domain) {
    return Collector{client_namespace, domain}.collect(name);
}

}
