in vec3 ray;
out vec4 pixel;
uniform int setting;         // 0 grass, 1 snow, 2 sand, 3 indoors, 4 street
uniform int hour;            // 0 day, 1 dusk, 2 night
uniform vec3 zenith;
uniform vec3 horizon;
uniform vec3 paint;          // of the wall, or of the houses
uniform vec3 footprint;      // x, z and radius of the object
const float WALL = -2.3;

vec3 heaven(vec3 d) {
    float up = max(d.y, 0.0);
    vec3 c = mix(horizon, zenith, smoothstep(0.0, 0.42, up));
    if (hour == 2) {
        vec2 cell = vec2(atan(d.x, -d.z) * 34.0, d.y * 34.0) + grain;
        float star = hash(floor(cell));
        vec2 off = fract(cell) - 0.5;
        c += step(0.86, star) * smoothstep(0.16, 0.0, dot(off, off) * 4.0) * vec3(1.0, 0.97, 0.85) * (star - 0.82) * 9.0;
        vec3 m = normalize(vec3(0.30 * sign(key_dir.x), 0.16, -1.0));
        float at = length(d - m);
        c += vec3(0.30, 0.30, 0.36) * exp(-at * 9.0);
        float bite = smoothstep(0.050, 0.058, length(d - m - vec3(0.035 * sign(key_dir.x), 0.02, 0.0)));
        c = mix(c, vec3(1.5, 1.45, 1.2), smoothstep(0.070, 0.060, at) * bite);
    } else {
        float veil = clouds(d.xz / (up + 0.22) * 0.9 + grain);
        vec3 tint = hour == 0 ? vec3(1.05) : vec3(1.25, 0.62, 0.42);
        c = mix(c, tint, 0.85 * smoothstep(0.50, 0.78, veil) * smoothstep(0.02, 0.16, up));
    }
    if (hour == 1) {
        vec3 s = normalize(vec3(0.30 * sign(key_dir.x), 0.045, -1.0));
        float at = length(d - s);
        c += vec3(1.3, 0.55, 0.16) * exp(-at * 3.4) + vec3(2.0, 1.5, 0.7) * smoothstep(0.085, 0.07, at);
    }
    return c;
}

vec3 far_land(vec3 d, vec3 c) {
    float way = atan(d.x, -d.z) * 6.0 + grain;
    float ambient = hour == 0 ? 1.0 : (hour == 1 ? 0.42 : 0.10);
    if (setting == 0) {
        float hill = 0.035 + 0.05 * clouds(vec2(way * 0.7, 1.0));
        float wood = 0.015 + 0.035 * clouds(vec2(way * 2.6, 5.0)) + 0.012 * noise(vec2(way * 13.0, 2.0));
        c = mix(c, mix(vec3(0.20, 0.38, 0.30), horizon, 0.35) * ambient, smoothstep(0.004, -0.004, d.y - hill));
        c = mix(c, vec3(0.07, 0.20, 0.07) * ambient, smoothstep(0.004, -0.004, d.y - wood));
    } else if (setting == 1) {
        float peak = 0.03 + 0.16 * abs(clouds(vec2(way * 0.8, 3.0)) - 0.28);
        vec3 rock = mix(vec3(0.36, 0.42, 0.55), vec3(0.92, 0.95, 1.0), smoothstep(0.02, 0.07, d.y + 0.05 * noise(vec2(way * 9.0, d.y * 60.0))));
        c = mix(c, rock * (ambient * 0.9 + 0.03), smoothstep(0.004, -0.004, d.y - peak));
    } else if (setting == 2) {
        float sea = step(d.y, 0.018);
        vec3 water = mix(vec3(0.05, 0.33, 0.42), horizon, 0.30) * ambient;
        water += 0.18 * ambient * step(0.72, noise(vec2(way * 24.0, d.y * 900.0)));
        c = mix(c, water, sea);
        float dune = 0.045 * clouds(vec2(way * 0.6, 9.0)) - 0.004;
        c = mix(c, vec3(0.62, 0.46, 0.27) * ambient, smoothstep(0.003, -0.003, d.y - dune));
    } else {
        float block = floor(way * 1.15), inside = fract(way * 1.15);
        float roof = 0.12 + 0.26 * hash(vec2(block, 4.0));
        vec3 face = mix(paint, vec3(0.5, 0.45, 0.42), hash(vec2(block, 8.0))) * (0.55 + 0.35 * hash(vec2(block, 2.0)));
        vec2 pane = fract(vec2(inside * 4.0, d.y * 22.0));
        float glass = step(0.28, pane.x) * step(pane.x, 0.72) * step(0.30, pane.y) * step(pane.y, 0.78) * step(d.y, roof - 0.02) * step(0.03, d.y);
        float on = step(0.45, hash(floor(vec2(way * 1.15 * 4.0, d.y * 22.0)) + grain));
        vec3 shine = hour == 0 ? vec3(0.28, 0.38, 0.48) : mix(vec3(0.03), vec3(1.15, 0.72, 0.28), on * (hour == 1 ? 0.6 : 1.0));
        c = mix(c, mix(face * ambient, shine, glass), step(d.y, roof));
    }
    return c;
}

vec3 soil(vec2 p, float away) {
    float coarse = clouds(p * 0.9 + grain), fine = noise(p * 34.0 + grain), blur = exp(-away * 0.10);
    if (setting == 0) {
        float blade = noise(vec2(p.x * 46.0, p.y * 15.0) + grain) * blur;
        vec3 c = mix(vec3(0.10, 0.26, 0.045), vec3(0.30, 0.50, 0.10), coarse);
        c *= 0.72 + 0.55 * blade;
        float petal = step(0.988, hash(floor(p * 9.0) + grain)) * step(length(fract(p * 9.0) - 0.5), 0.33);
        return mix(c, hash(floor(p * 9.0)) > 0.5 ? vec3(0.9, 0.85, 0.8) : vec3(0.85, 0.65, 0.1), petal * 0.9);
    }
    if (setting == 1) {
        vec3 c = mix(vec3(0.70, 0.78, 0.92), vec3(0.93, 0.95, 1.0), smoothstep(0.25, 0.7, coarse));
        return c + 0.10 * (fine - 0.5) * blur + 0.4 * step(0.985, hash(floor(p * 60.0))) * blur;
    }
    if (setting == 2) {
        float ripple = sin((p.y + 0.35 * ripples(p * 2.0 + grain)) * 21.0 + 2.0 * coarse);
        vec3 c = mix(vec3(0.56, 0.40, 0.21), vec3(0.80, 0.62, 0.37), coarse);
        return c * (1.0 + 0.09 * ripple * blur) + 0.13 * (fine - 0.5) * blur;
    }
    if (setting == 3) {
        float plank = floor(p.x * 2.6), along = p.y * 0.55 + hash(vec2(plank, grain)) * 3.0;
        float tone = hash(vec2(plank, floor(along)) + 3.0);
        float line = max(smoothstep(0.05, 0.0, fract(p.x * 2.6)), smoothstep(0.02, 0.0, fract(along)));
        float veins = ripples(vec2(p.x * 22.0, p.y * 1.4) + tone * 40.0);
        vec3 c = mix(vec3(0.36, 0.19, 0.09), vec3(0.58, 0.35, 0.17), 0.55 * tone + 0.45 * veins);
        return c * (1.0 - 0.6 * line);
    }
    vec3 c = vec3(0.17, 0.17, 0.18) * (0.75 + 0.35 * coarse) + 0.08 * (fine - 0.5) * blur;
    float mark = step(abs(p.y - 0.9), 0.07) * step(fract(p.x * 0.45 + grain), 0.6);
    c = mix(c, vec3(0.72, 0.70, 0.62), mark * 0.85);
    if (p.y < -1.15) {
        vec2 slab = fract(p * vec2(1.3, 1.3));
        float joint = max(smoothstep(0.05, 0.0, slab.x), smoothstep(0.05, 0.0, slab.y));
        c = (vec3(0.42, 0.40, 0.38) + 0.08 * hash(floor(p * 1.3))) * (1.0 - 0.4 * joint);
        c *= p.y > -1.27 ? 1.25 : 1.0;
    }
    return c;
}

vec3 window_view(vec3 p) {
    vec3 d = normalize(vec3(p.x * 0.3, (p.y - 0.95) * 0.35, -1.0));
    vec3 c = heaven(d);
    float hill = 0.02 + 0.05 * noise(vec2(p.x * 2.0 + grain, 0.0));
    float ambient = hour == 0 ? 1.0 : (hour == 1 ? 0.35 : 0.05);
    return mix(c, vec3(0.16, 0.33, 0.12) * ambient, step(d.y, hill));
}

vec3 room_wall(vec3 p) {
    float stripe = smoothstep(0.46, 0.5, abs(fract(p.x * 1.7) - 0.5) * 2.0 * 0.75);
    vec3 albedo = paint * (0.92 + 0.10 * stripe + 0.04 * noise(p.xy * 30.0));
    if (p.y < 0.20) albedo = vec3(0.72, 0.68, 0.62) * (p.y > 0.18 ? 0.7 : 1.0);
    float dim = 0.72 + 0.28 * smoothstep(0.0, 1.2, p.y);
    vec3 c = shade(albedo, p, vec3(0, 0, 1), dim, 0.3, 1.0);
    vec2 w = (p.xy - vec2(0.95 * sign(key_dir.x), 1.42)) / vec2(0.50, 0.55);
    float frame = max(abs(w.x), abs(w.y));
    if (frame < 1.13) {
        c = shade(vec3(0.82, 0.79, 0.74), p, vec3(0, 0, 1), 1.0, 0.3, 1.0);
        bool pane = frame < 1.0 && min(abs(w.x), abs(w.y)) > 0.06;
        if (pane) c = window_view(p - vec3(0.95 * sign(key_dir.x), 0.45, 0.0));
    }
    vec2 art = (p.xy - vec2(-0.85 * sign(key_dir.x), 1.35)) / vec2(0.34, 0.27);
    float edge = max(abs(art.x), abs(art.y));
    if (edge < 1.0) {
        vec3 tint = 0.35 + 0.3 * cos(6.28 * (hash(vec2(grain, 1.0)) + vec3(0.0, 0.33, 0.67)));
        vec3 field = art.y + 0.4 * sin(art.x * 2.0 + grain) > 0.0 ? tint : tint.zxy * 0.7;
        c = shade(edge > 0.82 ? vec3(0.30, 0.18, 0.09) : field, p, vec3(0, 0, 1), 1.0, 0.3, 1.0);
    }
    return c;
}

float snowfall(vec2 at) {
    float sum = 0.0;
    for (int i = 0; i < 2; i++) {
        vec2 cell = at * (9.0 + 7.0 * float(i)) + grain * float(i + 1);
        vec2 off = fract(cell) - 0.5 - 0.5 * (vec2(hash(floor(cell)), hash(floor(cell) + 5.0)) - 0.5);
        sum += step(0.80, hash(floor(cell) + 9.0)) * smoothstep(0.14, 0.07, length(off));
    }
    return sum;
}

void main() {
    vec3 d = normalize(ray);
    float to_floor = d.y < -1e-4 ? -eye.y / d.y : 1e9;
    float to_wall = setting == 3 && d.z < -1e-4 ? (WALL - eye.z) / d.z : 1e9;
    if (to_wall < to_floor) {
        pixel = vec4(develop(room_wall(eye + to_wall * d), to_wall), 1.0);
        return;
    }
    if (to_floor > 60.0) {
        vec3 c = far_land(d, heaven(d));
        if (setting == 1) c += snowfall(d.xy / -d.z * 2.0) * (hour == 0 ? 0.45 : 0.25);
        pixel = vec4(develop(c, haze > 0.1 ? 9.0 : 0.0), 1.0);
        return;
    }
    vec3 p = eye + to_floor * d;
    vec3 n = vec3(0, 1, 0);
    if (setting != 3 && setting != 4) {
        float here = ripples(p.xz * 3.1 + grain);
        vec2 rise = here - vec2(ripples((p.xz + vec2(0.1, 0.0)) * 3.1 + grain), ripples((p.xz + vec2(0.0, 0.1)) * 3.1 + grain));
        n = normalize(vec3(rise.x, 0.6, rise.y));
    }
    vec2 off = (p.xz - footprint.xy) / footprint.z;
    float open = 1.0 - 0.55 * exp(-1.6 * dot(off, off));
    if (setting == 3) open *= 0.75 + 0.25 * smoothstep(WALL, WALL + 0.7, p.z);
    vec3 c = shade(soil(p.xz, to_floor), p, n, open, 0.1, lit(p));
    if (setting != 3) c = mix(horizon, c, 0.75 + 0.25 * exp(-max(to_floor - 9.0, 0.0) * 0.05));
    pixel = vec4(develop(c, to_floor), 1.0);
}
