// SPDX-License-Identifier: Apache-2.0
#include "secure.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <culvert/base/address.hpp>

#include "files.hpp"

namespace culvert::grpc {

namespace {

using Bio = base::Handle<BIO, BIO_free_all>;
using Certificate = base::Handle<X509, X509_free>;
using Context = base::Handle<SSL_CTX, SSL_CTX_free>;
using GeneralNames = base::Handle<GENERAL_NAMES, GENERAL_NAMES_free>;

base::Error openssl_problem(const std::string& doing) {
    return base::problem(doing + ": " + take_reason());
}

std::string to_string(const Roots& roots) {
    if (const auto* file = std::get_if<RootsFile>(&roots)) return file->path;
    return std::holds_alternative<RootsText>(roots) ? "the PEM text given" : "this system";
}

// A bundle may hold what we cannot read beside what we can.
base::Result<> trust(SSL_CTX& context, const std::string& pem, const std::string& whose) {
    Bio bio{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
    if (!bio) return openssl_problem("read the roots");
    X509_STORE* store = SSL_CTX_get_cert_store(&context);
    int trusted = 0;
    for (;;) {
        Certificate root{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)};
        if (root)
            trusted += X509_STORE_add_cert(store, root.get());
        else if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
            break;
        else
            ERR_clear_error();
    }
    ERR_clear_error();
    if (trusted == 0) return base::problem(fmt::format("no root certificate (PEM) is in {}", whose));
    return {};
}

base::Result<> trust(SSL_CTX& context, const Roots& roots) {
    if (std::holds_alternative<SystemRoots>(roots)) {
        if (SSL_CTX_set_default_verify_paths(&context) != 1) return openssl_problem("read this system's roots");
        return {};
    }
    if (const auto* text = std::get_if<RootsText>(&roots)) return trust(context, text->pem, to_string(roots));
    auto pem = read_file(std::get<RootsFile>(roots).path);
    if (!pem) return base::problem("the roots cannot be read: " + pem.error().to_string());
    return trust(context, *pem, to_string(roots));
}

base::Result<Context> make_context(const Roots& roots) {
    Context context{SSL_CTX_new(TLS_client_method())};
    if (!context) return openssl_problem("start TLS");
    SSL_CTX_set_security_level(context.get(), 2);  // whatever openssl.cnf says
    SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context.get(),
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    X509_STORE_set_flags(SSL_CTX_get_cert_store(context.get()), X509_V_FLAG_PARTIAL_CHAIN);
    static constexpr unsigned char h2[] = {2, 'h', '2'};
    if (SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(context.get(), h2, sizeof h2) != 0)
        return openssl_problem("start TLS");
    if (auto done = trust(*context, roots); !done) return done.error();
    return context;
}

bool is_ip(const std::string& host) {
    return base::IpAddress::parse(host).has_value();
}

bool is_for(X509& certificate, const std::string& name) {
    if (name.empty()) return false;
    if (is_ip(name)) return X509_check_ip_asc(&certificate, name.c_str(), 0) == 1;
    return X509_check_host(&certificate, name.data(), name.size(), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
}

// "istiod.istio-system.svc, istiod.istio-system"; for people.
std::string names_in(X509& certificate) {
    GeneralNames names{
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr))};
    std::string text;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_DNS && name->type != GEN_URI) continue;
        const ASN1_STRING* value = name->type == GEN_DNS ? name->d.dNSName : name->d.uniformResourceIdentifier;
        if (!text.empty()) text += ", ";
        text.append(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                    static_cast<std::size_t>(ASN1_STRING_length(value)));
        if (text.size() > 512) return text + ", ...";
    }
    return text.empty() ? "no host name" : text;
}

}

std::string take_reason() {
    const unsigned long error = ERR_get_error();
    ERR_clear_error();
    if (error == 0) return {};
    if (ERR_SYSTEM_ERROR(error)) return base::errno_while("", ERR_GET_REASON(error)).cause();
    const char* reason = ERR_reason_error_string(error);
    return reason ? reason : fmt::format("OpenSSL error {:#x}", error);
}

base::Result<Ssl> open_tls(const Target& target, const Endpoint& endpoint) {
    ERR_clear_error();
    auto context = make_context(target.roots);
    if (!context) return context.error();
    Ssl ssl{SSL_new(context->get())};
    if (!ssl) return openssl_problem("start TLS");
    if (!is_ip(endpoint.host) && SSL_set_tlsext_host_name(ssl.get(), endpoint.host.c_str()) != 1)
        return openssl_problem("name the server");
    SSL_set_connect_state(ssl.get());
    return ssl;
}

base::Result<> check_server(SSL& ssl, const Target& target, const Endpoint& endpoint) {
    X509* certificate = SSL_get0_peer_certificate(&ssl);
    if (!certificate) return base::problem(fmt::format("{} showed no certificate", endpoint.authority()));
    if (!is_for(*certificate, endpoint.host) && !is_for(*certificate, target.alternative_hostname))
        return base::problem(fmt::format(
            "the certificate of {} is for {}, not for {}; where that is the right server, give its name as the "
            "alternative host name",
            endpoint.authority(), names_in(*certificate), endpoint.host));
    const unsigned char* protocol = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(&ssl, &protocol, &size);
    if (std::string_view{reinterpret_cast<const char*>(protocol), size} != "h2")
        return base::problem(fmt::format("{} speaks no HTTP/2 (it chose no h2 by ALPN)", endpoint.authority()));
    return {};
}

base::Error handshake_problem(SSL& ssl, const Target& target, const Endpoint& endpoint) {
    const std::string reason = take_reason();
    if (long verdict = SSL_get_verify_result(&ssl); verdict != X509_V_OK)
        return base::problem(fmt::format(
            "the certificate of {} does not verify with the roots of {}: {}; they must hold the root that signs for it",
            endpoint.authority(), to_string(target.roots), X509_verify_cert_error_string(verdict)));
    return base::problem(fmt::format("TLS handshake with {}: {}", endpoint.authority(),
                                     reason.empty() ? "the server closed in the middle of it" : reason));
}

}
