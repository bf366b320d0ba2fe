// SPDX-License-Identifier: Apache-2.0
#include "recorded.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>

namespace recorded {
namespace {

const std::filesystem::path folder = RECORDED;

std::string content(const std::filesystem::path& path) {
    std::ifstream in{path, std::ios::binary};
    if (!in) throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>{in}, {}};
}

std::vector<std::string> numbered(const std::filesystem::path& where, const std::string& stem) {
    std::vector<std::string> found;
    for (int i = 1;; ++i) {
        auto path = where / (stem + "-" + std::to_string(i) + ".bin");
        if (!std::filesystem::exists(path)) return found;
        found.push_back(content(path));
    }
}

}

std::string file(const std::string& path) {
    return content(folder / path);
}

Step step(const std::string& name) {
    Step step{name, {}, numbered(folder / name, "response"), {}};
    for (const std::string& bytes : numbered(folder / name, "request")) step.requests.push_back(request(bytes));
    if (std::filesystem::exists(folder / name / "dump.json")) step.dump = file(name + "/dump.json");
    return step;
}

std::vector<Step> steps_before(const std::string& name) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{folder})
        if (entry.is_directory() && entry.path().filename() < name) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    std::vector<Step> steps;
    for (const std::string& each : names) steps.push_back(step(each));
    return steps;
}

Request request(const std::string& bytes) {
    Request message;
    if (!message.ParseFromString(bytes)) throw std::runtime_error("no DeltaDiscoveryRequest");
    return message;
}

Response response(const std::string& bytes) {
    Response message;
    if (!message.ParseFromString(bytes)) throw std::runtime_error("no DeltaDiscoveryResponse");
    return message;
}

std::string bytes_of(const Response& response) {
    return response.SerializeAsString();
}

std::string meaning(Request request) {
    std::string text = request.type_url();
    auto add = [&](const char* what, auto names) {
        std::sort(names.begin(), names.end());
        for (const std::string& name : names) text += std::string{"\n"} + what + name;
    };
    add("subscribe ", request.resource_names_subscribe());
    add("unsubscribe ", request.resource_names_unsubscribe());
    for (const auto& [name, version] : std::map<std::string, std::string>{request.initial_resource_versions().begin(),
                                                                          request.initial_resource_versions().end()})
        text += "\nholds " + name + " " + version;
    if (!request.response_nonce().empty()) text += "\nnonce " + request.response_nonce();
    if (request.has_error_detail()) text += "\nrefuses: " + request.error_detail().message();
    if (request.has_node()) text += "\nnode " + request.node().id();
    for (const auto& [key, value] : std::map<std::string, culvert::wire::Value>{
             request.node().metadata().fields().begin(), request.node().metadata().fields().end()})
        text += "\nnode." + key + " " + value.string_value();
    return text;
}

}
